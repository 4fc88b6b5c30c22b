// A request of plausible values for any served model, from its metadata: what `bench` sends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "serve/client/http_client.h"
#include "serve/proto/inference.pb.h"
#include "tensor/dtype.h"

namespace sluice::bin {

// One input with its bytes as the protocol's binary form has them.
struct SyntheticTensor {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  std::vector<int64_t> shape;
  std::string bytes;
};

struct RequestSizes {
  int64_t batch = 1;        // of an open dimension 0
  int64_t length = 32;      // of the other open dimensions
  int64_t integer_max = 1;  // integers are drawn from [0, integer_max]; masks are 1
  uint64_t seed = 1;
};

// Asks the server for the model's inputs. A text model is asked by its text.
base::Result<std::vector<SyntheticTensor>> MakeTensors(serve::HttpClient& client,
                                                       const std::string& model,
                                                       const RequestSizes& sizes);

// The same tensors as whole HTTP requests and as a gRPC message.
std::string HttpJsonRequest(const std::string& model, const std::vector<SyntheticTensor>& tensors,
                            const std::string& parameters);
std::string HttpBinaryRequest(const std::string& model, const std::vector<SyntheticTensor>& tensors,
                              const std::string& parameters);
inference::ModelInferRequest GrpcRequest(const std::string& model,
                                         const std::vector<SyntheticTensor>& tensors);

}  // namespace sluice::bin

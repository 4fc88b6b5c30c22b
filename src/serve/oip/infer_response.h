// The answer to an inference request over HTTP: JSON, and binary tensors behind it where they were
// asked for.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "serve/oip/infer_request.h"
#include "tensor/tensor.h"

namespace sluice::serve {

class ShmRegions;

// What of a request its answer needs; the request itself is gone by then.
struct AnswerShape {
  std::string id;
  std::vector<WantedOutput> outputs;  // empty: all
  bool binary_outputs = false;
  std::shared_ptr<const ServedModel> model;
};

struct InferAnswer {
  std::string json;
  bool has_binary = false;            // then Inference-Header-Content-Length is json.size()
  std::vector<tensor::Buffer> blobs;  // in the order of the outputs that announce them
};

// `reply` is a success. kInternal when an output that was asked for is missing, kInvalidArgument
// when it has no form in which it was asked for.
base::Result<InferAnswer> WriteInferAnswer(const AnswerShape& shape, const engine::Reply& reply,
                                           const ShmRegions* shm);

// {"error": text}
std::string ErrorJson(std::string_view text);

// The classification extension: for each row of scores the `classes` highest as "value:index", a
// BYTES tensor.
base::Result<tensor::Tensor> Classify(const tensor::Tensor& scores, int64_t classes, bool has_batch,
                                      std::string_view name);

}  // namespace sluice::serve

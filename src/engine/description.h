// What a model takes and gives: its interface as metadata, configuration and error messages show
// it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace sluice::engine {

// One input or output. A dimension is its extent, or -1 where it varies from request to request.
struct TensorSpec {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  std::vector<int64_t> dims;
  bool optional = false;
};

// Immutable after load.
struct Description {
  std::string model;
  int64_t version = 0;
  std::string platform;  // "onnx" for imported graphs; as model metadata tells it
  // What a language model can be asked to do, the default first: "generate", "score", "embed", …
  std::vector<std::string> tasks;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  // Largest number of rows that one step takes; 0: requests of this model are never joined,
  // dimension 0 is no batch.
  int64_t batch_rows_max = 0;
  // Whether a request of more rows than that is taken all the same, in a step of its own.
  bool larger_requests = false;
  std::string
      batch_reason;  // why requests may or may not be joined, for `explain` and the load log
};

}  // namespace sluice::engine

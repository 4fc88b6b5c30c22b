// The body of an HTTP inference request: JSON, then the binary tensors that it announces. Bytes in,
// a typed request out.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "serve/config.h"
#include "serve/oip/infer_request.h"
#include "tensor/tensor.h"

namespace sluice::serve {

// Where tensors in shared memory are found; null: no client may use any.
class ShmRegions;

struct InferBody {
  std::string_view bytes;   // the JSON and what is behind it
  int64_t json_bytes = -1;  // "Inference-Header-Content-Length"; -1: the whole body is JSON
  tensor::Buffer owner;     // set when the bytes may be kept instead of copied
  const ShmRegions* shm = nullptr;
};

// Knows no model. kInvalidArgument says what was expected, what came and where; kUnimplemented
// names a feature. `document` is the caller's, reused from request to request.
base::Result<InferRequest> ParseInferBody(const InferBody& body, const RequestLimits& limits,
                                          base::JsonDocument& document);

// The raw form (json_bytes = 0): the body is the only input of this model, one row of it.
base::Result<InferRequest> RawInferBody(const InferBody& body,
                                        const engine::Description& description,
                                        const RequestLimits& limits);

// "Inference-Header-Content-Length" as a number within [0, body_bytes].
base::Result<int64_t> ParseHeaderLength(std::string_view text, int64_t body_bytes);

}  // namespace sluice::serve

// An inference request and its answer as protocol messages. No sockets, no gRPC.
#pragma once

#include "base/result.h"
#include "engine/request.h"
#include "serve/oip/infer_request.h"
#include "serve/oip/infer_response.h"
#include "serve/proto/inference.pb.h"

namespace sluice::serve {

class ShmRegions;

// Knows no model. Everything is copied out of the message, which may be reused at once. `shm` null:
// no client may use shared memory.
base::Result<InferRequest> ParseInferMessage(const inference::ModelInferRequest& message,
                                             const RequestLimits& limits, const ShmRegions* shm);

// `reply` carries no error. Tensors go to raw_output_contents, as Triton's always do.
base::Status FillInferResponse(const AnswerShape& shape, const engine::Reply& reply,
                               const ShmRegions* shm, inference::ModelInferResponse& message);

}  // namespace sluice::serve

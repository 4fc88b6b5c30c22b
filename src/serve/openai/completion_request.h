// The body of a request for a completion or a chat completion, as OpenAI's API has it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/config.h"
#include "serve/oip/infer_request.h"

namespace sluice::serve {

enum class CompletionKind { kText, kChat };

struct CompletionRequest {
  std::string model;
  InferRequest infer;  // inputs and parameters of the engine; no model yet
};

// What the fields of the specification mean to the engine. kUnimplemented names a field that would
// change the answer and is not built; others that are not known are accepted. kInvalidArgument says
// what was expected. `body` is readable kBodyPadding bytes past its end.
base::Result<CompletionRequest> ParseCompletion(std::string_view body, CompletionKind kind,
                                                const RequestLimits& limits);

}  // namespace sluice::serve

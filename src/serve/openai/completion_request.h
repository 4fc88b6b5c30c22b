// The body of a request for completions or chat completions, as OpenAI's API has it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/config.h"
#include "serve/oip/infer_request.h"

namespace sluice::serve {

enum class CompletionKind { kText, kChat };

// Bounds of one request.
inline constexpr int64_t kChoicesMax = 128;  // of one prompt
inline constexpr int64_t kPromptsMax = 256;
inline constexpr int64_t kPromptsTimesChoicesMax = 1024;
inline constexpr int64_t kTopLogprobsMax = 20;
inline constexpr int64_t kBiasesMax = 1024;

struct CompletionRequest {
  CompletionKind kind = CompletionKind::kText;
  std::string model;
  // One request to the engine for each prompt: inputs and parameters, no model yet.
  std::vector<InferRequest> prompts;
  int64_t n = 1;          // answers to each prompt
  int64_t logprobs = -1;  // alternatives told of each token; -1: not even its own
  bool stream = false;
  bool include_usage = false;  // an event of its own behind a stream
  bool usage_always = false;   // in each event
  bool echo = false;           // the answer begins with its prompt
  // With `echo`, of each prompt that is a text; empty for token ids, which the engine writes.
  std::vector<std::string> echoed;
  std::vector<std::string> unknown;  // KeepUnknown
};

// What the fields of the specification mean to the engine. kUnimplemented names a field that would
// change the answer and is not built; others that are not known are accepted. kInvalidArgument says
// what was expected. `body` is readable kBodyPadding bytes past its end.
base::Result<CompletionRequest> ParseCompletion(std::string_view body, CompletionKind kind,
                                                const RequestLimits& limits);

}  // namespace sluice::serve

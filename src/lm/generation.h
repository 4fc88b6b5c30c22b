// What a request asks of a language model, read from its tensors and parameters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "lm/model_text.h"
#include "lm/sampler.h"

namespace sluice::lm {

// The tensors and parameters of a request for tokens. Names as in the OpenAI API.
// A prompt is one of the first three; text and messages need a tokeniser.
inline constexpr const char* kInputIds = "input_ids";    // I32 or I64, [n] or [1, n]
inline constexpr const char* kText = "text";             // BYTES [1]; of the answer as well
inline constexpr const char* kMessages = "messages";     // BYTES [1]: JSON
inline constexpr const char* kTools = "tools";           // the same, optional
inline constexpr const char* kStopIds = "stop_ids";      // the same, optional
inline constexpr const char* kStop = "stop";             // BYTES [n]: texts, optional
inline constexpr const char* kOutputIds = "output_ids";  // I32 [n]
inline constexpr const char* kLogprobs = "logprobs";     // F32 [n], where they are asked for

// A parameter: without max_tokens the answer may fill the context, as chats expect.
inline constexpr const char* kFillContext = "fill_context";

// Bounds of what a model takes.
struct GenerationLimits {
  int64_t vocabulary = 0;
  int64_t length_max = 0;  // tokens of prompt and answer together
  int64_t answer_default = 16;
  int64_t stop_ids_max = 64;
  int64_t stop_texts_max = 16;
  size_t stop_bytes_max = 256;  // of each
};

struct Generation : engine::Prepared {
  std::vector<int32_t> prompt;
  int64_t answer_max = 0;         // tokens
  std::vector<int32_t> stop_ids;  // ends the answer, which does not hold it; sorted
  std::vector<std::string> stop;  // texts that end the answer, which does not hold them
  SamplingParameters sampling;
  bool stream = false;      // a reply for each step that gives tokens
  bool ignore_eos = false;  // the model's own end of text is a token like others
  std::string cache_salt;   // requests of different salts share no cached prefix
};

// kInvalidArgument says what was expected and what came.
// `text` is null for a model that has no tokeniser.
base::Status ReadGeneration(const engine::Request& request, const GenerationLimits& limits,
                            const ModelText* text, Generation& out);

}  // namespace sluice::lm

// What a request for tokens asks of a language model, read from its tensors and parameters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "lm/checkpoint/model_text.h"
#include "lm/sampler.h"
#include "lm/task/prompt.h"

namespace sluice::lm {

// Names of tensors besides a prompt's.
inline constexpr const char* kStopIds = "stop_ids";  // as input_ids, optional
inline constexpr const char* kStop = "stop";         // BYTES [n]: texts, optional
inline constexpr const char* kBiasIds = "bias_ids";  // as input_ids, optional
inline constexpr const char* kBias = "bias";         // F32 [n]: added to these tokens' logits
// Of a reply: the answers one behind the other.
inline constexpr const char* kOutputIds = "output_ids";          // I32 [tokens of all answers]
inline constexpr const char* kOutputLengths = "output_lengths";  // I32 [answers], of several
inline constexpr const char* kFinishReasons = "finish_reasons";  // BYTES [answers], of the last
// Where they are asked for; `top` columns are filled up with -1, NaN and empty texts.
inline constexpr const char* kLogprobs = "logprobs";         // F32 [tokens]
inline constexpr const char* kTopIds = "top_ids";            // I32 [tokens, top]
inline constexpr const char* kTopLogprobs = "top_logprobs";  // F32 [tokens, top]
inline constexpr const char* kTokenTexts = "token_texts";    // BYTES [tokens]
inline constexpr const char* kTopTexts = "top_texts";        // BYTES [tokens, top]
// The same of the prompt's tokens, in a request's last reply; of the first one nothing is known.
inline constexpr const char* kPromptIds = "prompt_ids";
inline constexpr const char* kPromptLogprobs = "prompt_logprobs";  // also the parameter
inline constexpr const char* kPromptTopIds = "prompt_top_ids";
inline constexpr const char* kPromptTopLogprobs = "prompt_top_logprobs";
inline constexpr const char* kPromptTexts = "prompt_texts";
inline constexpr const char* kPromptTopTexts = "prompt_top_texts";

// A parameter: without max_tokens the answer may fill the context, as chats expect.
inline constexpr const char* kFillContext = "fill_context";

// A parameter of a request and of a deployment: what becomes of a prompt that leaves no room for
// its answer. The reply tells truncated_tokens where its beginning was cut off.
inline constexpr const char* kOverflow = "overflow";
inline constexpr const char* kRefuse = "refuse";
inline constexpr const char* kTruncateLeft = "truncate_left";

// Bounds of what a model takes, and what it does where a request does not say.
struct GenerationLimits {
  int64_t vocabulary = 0;
  int64_t length_max = 0;  // tokens of prompt and answer together
  int64_t answer_default = 16;
  int64_t answers_max = 128;
  int64_t stop_ids_max = 64;
  int64_t bias_max = 1024;
  int64_t stop_texts_max = 16;
  size_t stop_bytes_max = 256;  // of each
  SamplingParameters sampling;
  bool truncate_left = false;  // a prompt that is too long loses its beginning
};

struct Generation : Asked {
  Generation() : Asked(Task::kGenerate) {}
  int64_t row_count() const override { return static_cast<int64_t>(prompt.size()); }
  int64_t serial_steps() const override { return answer_max > 0 ? answer_max - 1 : 0; }
  bool may_end_early() const override { return !ignore_eos || !stop.empty() || !stop_ids.empty(); }

  int64_t truncated = 0;  // tokens of the prompt that were cut off
  int64_t answers = 1;
  int64_t answer_max = 0;         // tokens of each; 0: the prompt's logprobs alone are asked
  int32_t prompt_top = -1;        // as sampling.logprobs, of the prompt
  std::vector<int32_t> stop_ids;  // ends the answer, which does not hold it; sorted
  std::vector<std::string> stop;  // texts that end the answer, which does not hold them
  size_t stop_bytes = 0;          // of the longest
  SamplingParameters sampling;
  TokenCounts prompt_counts;  // where there are penalties
  bool token_texts = false;   // the tokens' own texts beside the answer's
  bool stream = false;        // a reply for each step that gives tokens
  bool ignore_eos = false;    // the model's own end of text is a token like others
};

// kInvalidArgument says what was expected and what came.
// `text` is null for a model that has no tokeniser.
base::Status ReadGeneration(const engine::Request& request, const GenerationLimits& limits,
                            const ModelText* text, Generation& out);

}  // namespace sluice::lm

// Tokens of a text, and the text of tokens: what a model's tokeniser answers without a step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "engine/description.h"
#include "engine/request.h"
#include "lm/checkpoint/model_text.h"

namespace sluice::lm {

inline constexpr const char* kTaskTokenize = "tokenize";
inline constexpr const char* kTaskDetokenize = "detokenize";

// Outputs besides output_ids, token_texts and text.
inline constexpr const char* kOffsets = "offsets";               // I32 [n, 2] bytes of the text
inline constexpr const char* kSpecialTokens = "special_tokens";  // BOOL [n]

// Tokens of one text that are told; a text of more is refused.
inline constexpr int64_t kToldTokensMax = int64_t{1} << 20;

struct TextTaskModel {
  const ModelText* text = nullptr;  // null: the model has no tokeniser
  std::string name;
  int64_t vocabulary = 0;
  int64_t length_max = 0;  // told as the parameter max_model_len
};

// The answer where the request's `task` is one of the two; nothing for others.
// tokenize: `text`, or `messages` with what their template takes, to `output_ids`, and with the
// parameter token_texts to `token_texts`, `special_tokens` and, of a text whose tokens are spelled
// as they stand in it, `offsets`. detokenize: `input_ids` to `text`; parameter skip_special_tokens
// (false). kInvalidArgument says what was expected.
base::Result<std::optional<engine::Reply>> AnswerTextTask(const engine::Request& request,
                                                          const TextTaskModel& model);

// Adds the two tasks and their outputs to what a model with a tokeniser says of itself.
void DescribeTextTasks(engine::Description& description);

}  // namespace sluice::lm

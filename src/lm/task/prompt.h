// What a request of a language model begins with, whatever it asks: a prompt of tokens, read from
// ids, a text or messages.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "lm/checkpoint/model_text.h"
#include "lm/request_fields.h"

namespace sluice::lm {

// Names of tensors. A prompt is one of the first three; text and messages need a tokeniser.
inline constexpr const char* kInputIds = "input_ids";  // I32 or I64, [n] or [1, n]
inline constexpr const char* kText = "text";           // BYTES [1]; of an answer as well
inline constexpr const char* kMessages = "messages";   // BYTES [1]: JSON
inline constexpr const char* kTools = "tools";         // the same, optional

// What a request asks. Each task has its own.
struct Asked {
  enum class Task : uint8_t { kGenerate, kScore, kEmbed };
  explicit Asked(Task which) : task(which) {}
  virtual ~Asked() = default;
  // What answering takes: rows that can be computed side by side, and steps that follow one another
  // behind them.
  virtual int64_t row_count() const = 0;
  virtual int64_t serial_steps() const { return 0; }
  // Whether answering may end before all of these steps.
  virtual bool may_end_early() const { return false; }

  const Task task;
  std::vector<int32_t> prompt;
  std::string cache_salt;  // requests of different salts share no cached prefix
};

// The tensors of a request that make its prompt.
struct PromptInputs {
  const tensor::NamedTensor* ids = nullptr;
  const tensor::NamedTensor* text = nullptr;
  const tensor::NamedTensor* messages = nullptr;
  const tensor::NamedTensor* tools = nullptr;

  // Whether the tensor is one of them, which it becomes then. `has_text`: the model has a
  // tokeniser.
  bool Take(const tensor::NamedTensor& input, bool has_text);
  int count() const {
    return (ids != nullptr ? 1 : 0) + (text != nullptr ? 1 : 0) + (messages != nullptr ? 1 : 0);
  }
};

struct PromptLimits {
  int64_t vocabulary = 0;
  int64_t count_max = 0;  // tokens
};
// The tokens, none of them where there is no prompt; parameters that say how it is read and cut
// (add_special_tokens, add_generation_prompt, continue_final_message, chat_template_kwargs,
// truncate_prompt).
// kInvalidArgument when a text has more than count_max, or there are several prompts.
base::Result<std::vector<int32_t>> ReadPrompt(const PromptInputs& inputs, PromptLimits limits,
                                              const ModelText* text, ParameterReader& reader);

}  // namespace sluice::lm

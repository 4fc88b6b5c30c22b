#include "lm/task/prompt.h"

#include <chrono>
#include <limits>

namespace sluice::lm {
namespace {

constexpr size_t kTemplateVariableBytesMax = size_t{64} << 10;

double SecondsSince1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

base::Result<std::vector<int32_t>> ReadTokens(const PromptInputs& inputs, PromptLimits limits,
                                              const ModelText* model_text,
                                              ParameterReader& reader) {
  if (inputs.ids != nullptr) return ReadIds(*inputs.ids, limits.vocabulary);
  if (inputs.text != nullptr) {
    bool add_special_tokens = true;
    TRY(reader.Bool("add_special_tokens", add_special_tokens));
    const std::string_view content = TRY(ReadText(*inputs.text));
    return model_text->Encode(content, limits.count_max, add_special_tokens);
  }
  ModelText::Chat chat;
  chat.messages = TRY(ReadText(*inputs.messages));
  if (inputs.tools != nullptr) chat.tools = TRY(ReadText(*inputs.tools));
  std::string variables;
  TRY(reader.Text("chat_template_kwargs", kTemplateVariableBytesMax, variables));
  chat.variables = variables;
  TRY(reader.Bool("continue_final_message", chat.continue_final_message));
  chat.add_generation_prompt = !chat.continue_final_message;
  TRY(reader.Bool("add_generation_prompt", chat.add_generation_prompt));
  if (chat.continue_final_message && chat.add_generation_prompt) {
    return base::InvalidArgument(
        "parameter continue_final_message: expected add_generation_prompt to be false with it");
  }
  TRY(reader.Bool("add_special_tokens", chat.add_special_tokens));
  chat.now = SecondsSince1970();
  return model_text->EncodeChat(chat, limits.count_max);
}

}  // namespace

bool PromptInputs::Take(const tensor::NamedTensor& input, bool has_text) {
  if (input.name == kInputIds) {
    ids = &input;
  } else if (has_text && input.name == kText) {
    text = &input;
  } else if (has_text && input.name == kMessages) {
    messages = &input;
  } else if (has_text && input.name == kTools) {
    tools = &input;
  } else {
    return false;
  }
  return true;
}

base::Result<std::vector<int32_t>> ReadPrompt(const PromptInputs& inputs, PromptLimits limits,
                                              const ModelText* text, ParameterReader& reader) {
  if (inputs.count() == 0) return std::vector<int32_t>();
  if (inputs.count() > 1) {
    return base::InvalidArgument("expected one of the inputs input_ids, text, messages, got " +
                                 std::to_string(inputs.count()) + " of them");
  }
  int64_t kept = 0;
  TRY(reader.Integer("truncate_prompt", 1, limits.count_max, kept));
  if (kept > 0) limits.count_max = std::numeric_limits<int32_t>::max();
  std::vector<int32_t> tokens = TRY(ReadTokens(inputs, limits, text, reader));
  const auto count = static_cast<int64_t>(tokens.size());
  if (kept > 0 && count > kept) tokens.erase(tokens.begin(), tokens.end() - kept);
  return tokens;
}

}  // namespace sluice::lm

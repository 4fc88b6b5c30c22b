#include "lm/model_text.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/json.h"

namespace sluice::lm {
namespace {

constexpr const char* kTokenizerFile = "tokenizer.json";

}  // namespace

base::Result<std::shared_ptr<const ModelText>> ModelText::Load(const std::string& folder,
                                                               int64_t vocabulary) {
  const std::vector<base::FolderEntry> entries = TRY(base::ListFolder(folder));
  const bool has_tokenizer =
      std::any_of(entries.begin(), entries.end(), [](const base::FolderEntry& entry) {
        return !entry.is_folder && entry.name == kTokenizerFile;
      });
  if (!has_tokenizer) return std::shared_ptr<const ModelText>();
  return Create(TRY(text::Tokenizer::Load(folder + "/" + kTokenizerFile)),
                TRY(text::ChatTemplates::Load(folder)), vocabulary);
}

base::Result<std::shared_ptr<const ModelText>> ModelText::Create(
    std::shared_ptr<const text::Tokenizer> tokenizer, text::ChatTemplates templates,
    int64_t vocabulary) {
  if (tokenizer->id_max() >= vocabulary) {
    return base::InvalidArgument("the tokenizer: expected tokens below the vocabulary's size of " +
                                 std::to_string(vocabulary) + ", got " +
                                 std::to_string(tokenizer->id_max()));
  }
  // What can never be decoded piece by piece is found now.
  TRY(text::StreamDecoder::Create(tokenizer));
  std::shared_ptr<ModelText> model_text(new ModelText());
  model_text->tokenizer_ = std::move(tokenizer);
  model_text->templates_ = std::move(templates);
  return std::shared_ptr<const ModelText>(std::move(model_text));
}

base::Result<std::vector<int32_t>> ModelText::Tokenize(std::string_view text, int64_t count_max,
                                                       bool add_fixed_tokens) const {
  // One token more shows that the text is too long, and no more of it is read.
  text::EncodeOptions options;
  options.length_max = std::max(count_max + 1, tokenizer_->fixed_tokens(false) + 1);
  options.add_fixed_tokens = add_fixed_tokens;
  text::Encoding encoding = TRY(tokenizer_->Encode(text, options));
  if (static_cast<int64_t>(encoding.ids.size()) > count_max) {
    return base::InvalidArgument("expected a text of at most " + std::to_string(count_max) +
                                 " tokens, got more");
  }
  return std::move(encoding.ids);
}

base::Result<std::vector<int32_t>> ModelText::Encode(std::string_view text, int64_t count_max,
                                                     bool add_fixed_tokens) const {
  return Tokenize(text, count_max, add_fixed_tokens);
}

base::Result<std::vector<int32_t>> ModelText::EncodeChat(const Chat& chat,
                                                         int64_t count_max) const {
  base::JsonDocument messages, tools, variables;
  text::ChatInput input{TRY(messages.Parse(chat.messages))};
  if (!chat.tools.empty()) input.tools = TRY(tools.Parse(chat.tools));
  if (!chat.variables.empty()) {
    input.variables = TRY(variables.Parse(chat.variables));
    if (!input.variables->is_object()) {
      return base::InvalidArgument("parameter chat_template_kwargs: expected a JSON object");
    }
  }
  input.add_generation_prompt = chat.add_generation_prompt;
  input.now = chat.now;
  if (templates_.empty()) {
    return base::InvalidArgument("the model has no chat template; expected a text");
  }
  const std::shared_ptr<const text::ChatTemplate> chosen =
      TRY(templates_.Select(input.tools.has_value()));
  const std::string rendered = TRY(chosen->Render(input));
  return Tokenize(rendered, count_max, chat.add_special_tokens);
}

std::string ModelText::TokenBytes(int32_t id) const {
  return text::BytesOfToken(*tokenizer_, id);
}

text::StreamDecoder ModelText::MakeDecoder() const {
  return *text::StreamDecoder::Create(tokenizer_);
}

}  // namespace sluice::lm

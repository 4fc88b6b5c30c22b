// Chat templates: messages, tools and documents to the text that a model was trained on, as Hugging
// Face's apply_chat_template makes it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/jinja/template.h"

namespace sluice::text {

// The special tokens that a template may name, such as bos_token, and lists of them.
struct SpecialTokens {
  std::vector<std::pair<std::string, std::string>> single;
  std::vector<std::pair<std::string, std::vector<std::string>>> lists;

  // Of a tokenizer_config.json: bos_token, eos_token, unk_token, sep_token, pad_token, cls_token,
  // mask_token, each a string or an object with `content`; additional_special_tokens;
  // extra_special_tokens.
  static base::Result<SpecialTokens> FromConfig(const base::JsonValue& config);
};

struct ChatInput {
  base::JsonValue messages;                                 // an array of objects
  std::optional<base::JsonValue> tools = std::nullopt;      // an array; absent or null: none
  std::optional<base::JsonValue> documents = std::nullopt;  // likewise
  // More variables, chat_template_kwargs; they come before special tokens of the same name.
  std::optional<base::JsonValue> variables = std::nullopt;
  bool add_generation_prompt = true;
  // The text ends with the last message's content, for the model to go on with it.
  bool continue_final_message = false;
  double now = 0;  // seconds since 1970, for templates that tell the date
};

// Immutable and safe to share between threads.
class ChatTemplate {
 public:
  static base::Result<std::shared_ptr<const ChatTemplate>> Parse(std::string_view source,
                                                                 SpecialTokens tokens = {});

  // kInvalidArgument: no array of objects, what the template raises, or a last message without a
  // content that the template writes where it is to be continued; kResourceExhausted: a limit.
  base::Result<std::string> Render(const ChatInput& input, const jinja::Limits& limits = {}) const;

 private:
  ChatTemplate(std::shared_ptr<const jinja::Template> parsed, SpecialTokens tokens)
      : template_(std::move(parsed)), tokens_(std::move(tokens)) {}

  const std::shared_ptr<const jinja::Template> template_;
  const SpecialTokens tokens_;
};

// The templates of a model, by name.
class ChatTemplates {
 public:
  static constexpr size_t kCountMax = 64;

  // Of a model's folder: chat_template.jinja and additional_chat_templates/NAME.jinja, else the
  // `chat_template` of tokenizer_config.json, a string or a list of {name, template}. A folder
  // without any is empty. A template that does not parse fails the load only if it is the default
  // one; others say why when they are asked for.
  static base::Result<ChatTemplates> Load(const std::string& folder);
  // `config`: a tokenizer_config.json.
  static base::Result<ChatTemplates> FromConfig(const base::JsonValue& config);
  // Names with the templates' sources.
  static base::Result<ChatTemplates> FromSources(
      const std::vector<std::pair<std::string, std::string>>& sources, const SpecialTokens& tokens);

  bool empty() const { return by_name_.empty(); }
  // Without a name: `tool_use` where there are tools and there is one, else `default`. kNotFound
  // lists the names.
  base::Result<std::shared_ptr<const ChatTemplate>> Select(bool has_tools,
                                                           std::string_view name = {}) const;

 private:
  base::Status Add(const std::string& name, std::string_view source, const SpecialTokens& tokens);

  std::map<std::string, base::Result<std::shared_ptr<const ChatTemplate>>> by_name_;
};

}  // namespace sluice::text

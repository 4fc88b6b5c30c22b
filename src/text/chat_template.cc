#include "text/chat_template.h"

#include <algorithm>
#include <array>

#include "base/files.h"
#include "text/jinja/json_value.h"
#include "text/jinja/parse/parser.h"

namespace sluice::text {
namespace {

using base::InvalidArgument;
using base::JsonValue;
using base::Result;
using base::Status;
using jinja::Dict;
using jinja::Value;
using jinja::Workspace;

constexpr int64_t kConfigBytesMax = int64_t{64} << 20;
constexpr std::string_view kTokenNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                            "pad_token", "cls_token", "mask_token"};
// What the caller passes in fields of its own.
constexpr std::string_view kReserved[] = {"messages", "tools", "documents",
                                          "add_generation_prompt"};
// The names under which a message's reasoning is known, the standard one first.
constexpr std::string_view kReasoning[] = {"reasoning_content", "thinking", "reasoning"};

// Behind the content of the message that is to be continued while it is rendered, as transformers
// has it: what the template writes from it on is cut off.
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

// The text of a token: a string, or an object with `content`; nothing for null.
Result<std::optional<std::string>> TokenText(const JsonValue& value) {
  if (value.is_null()) return std::optional<std::string>();
  const JsonValue content = value.is_object() ? TRY(value.Get("content")) : value;
  const std::string_view text = TRY(content.AsString());
  return std::optional<std::string>(text);
}

// The whole of a file; nothing where there is none.
Result<std::optional<std::string>> ReadIfThere(const std::string& path, int64_t bytes_max) {
  auto text = base::ReadFile(path, bytes_max);
  if (text.ok()) return std::optional<std::string>(*std::move(text));
  if (text.error().code == base::Code::kNotFound) return std::optional<std::string>();
  return text.error();
}

// Templates read reasoning as `reasoning_content` or `thinking`: a message that has it under any
// name gets it under both, as transformers does.
bool AliasReasoning(Workspace& work, Value& message) {
  const Dict& given = *message.dict;
  const Value* reasoning = nullptr;
  for (const std::string_view name : kReasoning) {
    const Value* found = given.Find(name);
    if (found == nullptr || found->Is(jinja::Kind::kNone)) continue;
    reasoning = found;
    break;
  }
  if (reasoning == nullptr) return true;
  Value made;
  if (!work.NewDict(given.count + 2, made)) return false;
  if (!made.dict->Set(work, Value::String("thinking"), *reasoning)) return false;
  for (uint32_t i = 0; i < given.count; ++i) {
    if (!made.dict->Set(work, given.entries[i].key, given.entries[i].value)) return false;
  }
  if (!made.dict->Set(work, Value::String("reasoning_content"), *reasoning)) return false;
  message = made;
  return true;
}

bool TagLast(Workspace& work, const jinja::List& messages) {
  const Value* content =
      messages.size == 0 ? nullptr : messages.items[messages.size - 1].dict->Find("content");
  if (content == nullptr || !content->is_string()) {
    return work.Fail("expected a last message with a string as its content to continue");
  }
  Value tagged;
  return work.Concatenate(content->str(), kContinueTag, tagged) &&
         messages.items[messages.size - 1].dict->Set(work, Value::String("content"), tagged);
}

// The text up to the tag; without the white space before it where the template has stripped what
// the tag ends with.
Result<std::string> CutAtTag(std::string text) {
  const std::string_view word = kContinueTag.substr(0, kContinueTag.size() - 1);
  const size_t at = text.rfind(word);
  if (at == std::string::npos) {
    return InvalidArgument(
        "the last message cannot be continued: the chat template does not write its content");
  }
  const bool whole = text.compare(at, kContinueTag.size(), kContinueTag) == 0;
  text.resize(at);
  if (!whole) text.resize(text.find_last_not_of(" \t\n\v\f\r") + 1);
  return text;
}

bool AddMessages(Workspace& work, const ChatInput& input, Dict& context) {
  const JsonValue& json = input.messages;
  Value messages;
  if (!json.is_array()) return work.Fail("expected an array of messages");
  if (!FromJson(work, json, messages)) return false;
  for (size_t i = 0; i < messages.list->size; ++i) {
    Value& message = messages.list->items[i];
    if (!message.Is(jinja::Kind::kDict)) {
      return work.Fail("expected an object as message " + std::to_string(i));
    }
    if (!AliasReasoning(work, message)) return false;
  }
  if (input.continue_final_message && !TagLast(work, *messages.list)) return false;
  return context.Set(work, Value::String("messages"), messages);
}

bool AddList(Workspace& work, std::string_view name, const std::optional<JsonValue>& json,
             Dict& context) {
  Value list = Value::None();
  if (json.has_value() && !json->is_null()) {
    if (!json->is_array()) return work.Fail("expected an array as '" + std::string(name) + "'");
    if (!FromJson(work, *json, list)) return false;
  }
  return context.Set(work, Value::String(name), list);
}

bool AddTokens(Workspace& work, const SpecialTokens& tokens, Dict& context) {
  for (const auto& [name, text] : tokens.single) {
    if (!context.Set(work, Value::String(name), Value::String(text))) return false;
  }
  for (const auto& [name, texts] : tokens.lists) {
    Value list;
    if (!work.NewList(texts.size(), list)) return false;
    for (size_t i = 0; i < texts.size(); ++i) list.list->items[i] = Value::String(texts[i]);
    if (!context.Set(work, Value::String(name), list)) return false;
  }
  return true;
}

bool AddVariables(Workspace& work, const JsonValue& json, Dict& context) {
  Value variables;
  if (json.is_null()) return true;
  if (!json.is_object()) return work.Fail("expected an object as 'chat_template_kwargs'");
  if (!FromJson(work, json, variables)) return false;
  for (uint32_t i = 0; i < variables.dict->count; ++i) {
    const Dict::Entry& entry = variables.dict->entries[i];
    for (const std::string_view reserved : kReserved) {
      if (entry.key.str() == reserved) {
        return work.Fail("'" + std::string(reserved) +
                         "' is a field of its own and cannot stand in 'chat_template_kwargs'");
      }
    }
    if (!context.Set(work, entry.key, entry.value)) return false;
  }
  return true;
}

}  // namespace

Result<SpecialTokens> SpecialTokens::FromConfig(const JsonValue& config) {
  SpecialTokens tokens;
  for (const std::string_view name : kTokenNames) {
    const auto value = TRY(config.Find(name));
    if (!value) continue;
    auto text = TRY(TokenText(*value));
    if (text) tokens.single.emplace_back(name, std::move(*text));
  }
  const auto more = TRY(config.Find("additional_special_tokens"));
  if (more && more->is_array()) {
    std::vector<std::string> texts;
    const auto add = [&](const JsonValue& element) -> Status {
      auto text = TRY(TokenText(element));
      if (text) texts.push_back(std::move(*text));
      return base::Ok();
    };
    TRY(more->ForEachElement(add));
    tokens.lists.emplace_back("additional_special_tokens", std::move(texts));
  }
  const auto extra = TRY(config.Find("extra_special_tokens"));
  if (extra && extra->is_object()) {
    const auto add = [&](std::string_view name, const JsonValue& element) -> Status {
      auto text = TRY(TokenText(element));
      if (text) tokens.single.emplace_back(name, std::move(*text));
      return base::Ok();
    };
    TRY(extra->ForEachMember(add));
  }
  return tokens;
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::Parse(std::string_view source,
                                                                SpecialTokens tokens) {
  auto parsed = TRY(jinja::Template::Parse(source));
  return std::shared_ptr<const ChatTemplate>(
      new ChatTemplate(std::move(parsed), std::move(tokens)));
}

Result<std::string> ChatTemplate::Render(const ChatInput& input,
                                         const jinja::Limits& limits) const {
  Workspace work(limits);
  Value context;
  const bool good = work.NewDict(16, context) && AddTokens(work, tokens_, *context.dict) &&
                    (!input.variables || AddVariables(work, *input.variables, *context.dict)) &&
                    AddMessages(work, input, *context.dict) &&
                    AddList(work, "tools", input.tools, *context.dict) &&
                    AddList(work, "documents", input.documents, *context.dict) &&
                    context.dict->Set(work, Value::String("add_generation_prompt"),
                                      Value::Bool(input.add_generation_prompt));
  if (!good) return work.error();
  std::string text = TRY(template_->Render(work, *context.dict, input.now));
  return input.continue_final_message ? CutAtTag(std::move(text))
                                      : Result<std::string>(std::move(text));
}

Status ChatTemplates::Add(const std::string& name, std::string_view source,
                          const SpecialTokens& tokens) {
  if (by_name_.size() >= kCountMax) {
    return base::ResourceExhausted("expected at most " + std::to_string(kCountMax) +
                                   " chat templates");
  }
  auto parsed = ChatTemplate::Parse(source, tokens);
  if (!parsed.ok()) {
    base::Error error = parsed.error();
    error.message = "chat template '" + name + "': " + error.message;
    if (name == "default") return error;
    by_name_.insert_or_assign(name, std::move(error));
    return base::Ok();
  }
  by_name_.insert_or_assign(name, *std::move(parsed));
  return base::Ok();
}

Result<ChatTemplates> ChatTemplates::FromSources(
    const std::vector<std::pair<std::string, std::string>>& sources, const SpecialTokens& tokens) {
  ChatTemplates templates;
  for (const auto& [name, source] : sources) {
    TRY(templates.Add(name, source, tokens));
  }
  return templates;
}

Result<ChatTemplates> ChatTemplates::FromConfig(const JsonValue& config) {
  ChatTemplates templates;
  const SpecialTokens tokens = TRY(SpecialTokens::FromConfig(config));
  const auto value = TRY(config.Find("chat_template"));
  if (!value || value->is_null()) return templates;
  if (!value->is_array()) {
    const std::string_view source = TRY(value->AsString());
    TRY(templates.Add("default", source, tokens));
    return templates;
  }
  const auto add = [&](const JsonValue& element) -> Status {
    const JsonValue name = TRY(element.Get("name"));
    const JsonValue source = TRY(element.Get("template"));
    const std::string_view key = TRY(name.AsString());
    const std::string_view text = TRY(source.AsString());
    return templates.Add(std::string(key), text, tokens);
  };
  const Status added = value->ForEachElement(add);
  if (!added.ok()) return added.error();
  return templates;
}

Result<ChatTemplates> ChatTemplates::Load(const std::string& folder) {
  base::JsonDocument document;
  const auto config = TRY(ReadIfThere(folder + "/tokenizer_config.json", kConfigBytesMax));
  const JsonValue root = TRY(document.Parse(config.value_or("{}")));
  const auto source = TRY(ReadIfThere(folder + "/chat_template.jinja", jinja::kSourceBytesMax));
  if (!source) return FromConfig(root);
  ChatTemplates templates;
  const SpecialTokens tokens = TRY(SpecialTokens::FromConfig(root));
  TRY(templates.Add("default", *source, tokens));
  const std::string more = folder + "/additional_chat_templates";
  const auto entries = base::ListFolder(more);
  if (!entries.ok()) {
    if (entries.error().code == base::Code::kNotFound) return templates;
    return entries.error();
  }
  constexpr std::string_view kSuffix = ".jinja";
  for (const base::FolderEntry& entry : *entries) {
    if (entry.is_folder || !std::string_view(entry.name).ends_with(kSuffix)) continue;
    const std::string one = TRY(base::ReadFile(more + "/" + entry.name, jinja::kSourceBytesMax));
    TRY(templates.Add(entry.name.substr(0, entry.name.size() - kSuffix.size()), one, tokens));
  }
  return templates;
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplates::Select(bool has_tools,
                                                                  std::string_view name) const {
  const std::string wanted(!name.empty()                                ? name
                           : has_tools && by_name_.contains("tool_use") ? "tool_use"
                                                                        : "default");
  const auto found = by_name_.find(wanted);
  if (found != by_name_.end()) return found->second;
  std::string names;
  for (const auto& [known, unused] : by_name_) names += (names.empty() ? "" : ", ") + known;
  return base::NotFound("expected a chat template '" + wanted + "', the model has " +
                        (names.empty() ? "none" : names));
}

}  // namespace sluice::text

// Renders chat templates, one JSON object a line, for chat_template_test.py.
//
// usage: chat_template_render < cases
// A case is {"template": "…", "messages": […], "tools": …, "documents": …, "variables": {…},
// "tokens": {…}, "add_generation_prompt": …, "now": …}, or {"template": "…", "context": {…}} for a
// template alone; `template` may be left out for that of the case before. An answer is
// {"text": "…"} or {"error": "…"}.
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/jinja/json_value.h"

namespace {

using sluice::base::JsonDocument;
using sluice::base::JsonValue;
using sluice::base::JsonWriter;
using sluice::base::Result;
using sluice::text::ChatInput;
using sluice::text::ChatTemplate;
using sluice::text::SpecialTokens;

// The template of the last case that brought one.
struct Current {
  std::string source;
  std::optional<Result<std::shared_ptr<const sluice::text::jinja::Template>>> plain;
};

Result<std::string> RenderAlone(Current& current, const JsonValue& root, const JsonValue& json) {
  if (!current.plain) current.plain = sluice::text::jinja::Template::Parse(current.source);
  const auto parsed = TRY(Result(*current.plain));
  sluice::text::jinja::Workspace work({});
  sluice::text::jinja::Value context;
  double now = 0;
  if (const auto given = TRY(root.Find("now"))) now = TRY(given->AsDouble());
  if (!FromJson(work, json, context)) return work.error();
  return parsed->Render(work, *context.dict, now);
}

Result<std::string> RenderChat(const Current& current, const JsonValue& root) {
  SpecialTokens tokens;
  if (const auto given = TRY(root.Find("tokens"))) tokens = TRY(SpecialTokens::FromConfig(*given));
  const auto parsed = TRY(ChatTemplate::Parse(current.source, std::move(tokens)));
  ChatInput input{.messages = TRY(root.Get("messages")),
                  .tools = TRY(root.Find("tools")),
                  .documents = TRY(root.Find("documents")),
                  .variables = TRY(root.Find("variables"))};
  if (const auto given = TRY(root.Find("add_generation_prompt"))) {
    input.add_generation_prompt = TRY(given->AsBool());
  }
  if (const auto given = TRY(root.Find("now"))) input.now = TRY(given->AsDouble());
  return parsed->Render(input);
}

Result<std::string> Render(Current& current, JsonDocument& document, const std::string& line) {
  const JsonValue root = TRY(document.Parse(line));
  if (const auto source = TRY(root.Find("template"))) {
    current.source = TRY(source->AsString());
    current.plain.reset();
  }
  const auto context = TRY(root.Find("context"));
  return context ? RenderAlone(current, root, *context) : RenderChat(current, root);
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  JsonDocument document;
  Current current;
  std::string line;
  std::string out;
  while (std::getline(std::cin, line)) {
    const Result<std::string> text = Render(current, document, line);
    JsonWriter writer(out);
    writer.BeginObject();
    writer.Key(text.ok() ? "text" : "error").String(text.ok() ? *text : text.error().message);
    writer.EndObject();
    out += '\n';
    if (out.size() > (1 << 20)) {
      std::cout << out;
      out.clear();
    }
  }
  std::cout << out;
  return 0;
}

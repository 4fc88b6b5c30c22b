// A chat template and the JSON that it renders. The input is the template, a newline and a NUL, and
// an object with `messages`, `tools`, `documents` and `variables`; without the separator messages
// of our own. Whatever comes, rendering ends within its limits, and a second one gives the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"
#include "text/chat_template.h"

namespace {

using sluice::base::JsonDocument;
using sluice::base::JsonValue;
using sluice::text::ChatInput;
using sluice::text::ChatTemplate;

constexpr std::string_view kSeparator("\n\0", 2);
constexpr std::string_view kOwnInput = R"({
  "messages": [{"role": "system", "content": " You are.\n"}, {"role": "user", "content": "h\u00ef"},
    {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
      "function": {"name": "f", "arguments": {"a": [1, 2.5, true, null]}}}]},
    {"role": "tool", "content": [{"type": "text", "text": "x"}], "tool_call_id": "1"}],
  "tools": [{"type": "function", "function": {"name": "f", "description": "d",
    "parameters": {"type": "object", "properties": {"a": {"type": "array"}}}}}],
  "variables": {"s": "Hello World", "i": 3, "l": [3, 1, 2], "d": {"b": 1, "a": 2}}})";

sluice::text::jinja::Limits SmallLimits() {
  sluice::text::jinja::Limits limits;
  limits.steps_max = 200'000;
  limits.bytes_max = 8 << 20;
  limits.output_bytes_max = 1 << 20;
  limits.depth_max = 200;
  return limits;
}

std::optional<JsonValue> Member(const JsonValue& object, std::string_view name) {
  const auto found = object.Find(name);
  return found.ok() ? *found : std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t split = std::min(input.find(kSeparator), input.size());
  const auto parsed = ChatTemplate::Parse(input.substr(0, split));
  if (!parsed.ok()) return 0;
  JsonDocument document;
  const auto root =
      document.Parse(split == input.size() ? kOwnInput : input.substr(split + kSeparator.size()));
  if (!root.ok()) return 0;
  const auto messages = Member(*root, "messages");
  if (!messages) return 0;
  const ChatInput chat{.messages = *messages,
                       .tools = Member(*root, "tools"),
                       .documents = Member(*root, "documents"),
                       .variables = Member(*root, "variables")};
  const auto first = (*parsed)->Render(chat, SmallLimits());
  const auto second = (*parsed)->Render(chat, SmallLimits());
  CHECK_EQ(first.ok(), second.ok());
  if (!first.ok()) {
    CHECK(first.error().message == second.error().message) << first.error().message;
    return 0;
  }
  CHECK(*first == *second);
  CHECK(sluice::base::IsValidUtf8(*first));
  return 0;
}

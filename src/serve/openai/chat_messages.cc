#include "serve/openai/chat_messages.h"

#include <optional>
#include <utility>

#include "serve/json_fields.h"

namespace sluice::serve {
namespace {

using base::JsonKind;
using base::JsonValue;

std::string Place(int64_t message) {
  return "'messages': message " + std::to_string(message);
}

// One text of a list of parts.
base::Result<std::string> JoinParts(const JsonValue& parts, int64_t message) {
  std::string text;
  bool first = true;
  const auto one = [&](JsonValue part) -> base::Status {
    const std::optional<JsonValue> type =
        part.is_object() ? TRY(part.Find("type")) : std::optional<JsonValue>();
    if (!type.has_value() || !type->is_string()) {
      return base::InvalidArgument(Place(message) +
                                   ": expected parts of content with a type, as {\"type\": "
                                   "\"text\", \"text\": …}");
    }
    const std::string_view name = TRY(type->AsString());
    if (name != "text" && name != "refusal") {
      return base::Unimplemented(Place(message) + ": content of type '" +
                                 std::string(name.substr(0, 64)) + "' is not supported here");
    }
    const std::optional<JsonValue> said = TRY(part.Find(name));
    if (!said.has_value() || !said->is_string()) {
      return base::InvalidArgument(Place(message) + ": expected a string as its part's '" +
                                   std::string(name) + "'");
    }
    if (!std::exchange(first, false)) text += '\n';
    text += TRY(said->AsString());
    return base::Ok();
  };
  TRY(parts.ForEachElement(one));
  return text;
}

}  // namespace

base::Result<std::string> CopyMessages(const JsonValue& messages) {
  if (!messages.is_array()) return base::InvalidArgument("'messages': expected an array");
  std::string out = "[";
  int64_t index = 0;
  const auto one = [&](JsonValue message) -> base::Status {
    if (!message.is_object()) {
      return base::InvalidArgument(Place(index) + ": expected an object with a role");
    }
    if (index > 0) out += ',';
    out += '{';
    bool first = true;
    const auto member = [&](std::string_view key, JsonValue value) -> base::Status {
      if (!std::exchange(first, false)) out += ',';
      base::AppendJsonString(key, out);
      out += ':';
      if (key == "role" && value.is_string() && TRY(value.AsString()) == "developer") {
        out += "\"system\"";
        return base::Ok();
      }
      if (key == "content" && value.is_array()) {
        base::AppendJsonString(TRY(JoinParts(value, index)), out);
        return base::Ok();
      }
      return CopyJson(value, out);
    };
    TRY(message.ForEachMember(member));
    out += '}';
    ++index;
    return base::Ok();
  };
  TRY(messages.ForEachElement(one));
  out += ']';
  return out;
}

}  // namespace sluice::serve

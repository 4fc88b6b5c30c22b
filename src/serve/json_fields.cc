#include "serve/json_fields.h"

#include <cmath>
#include <utility>

namespace sluice::serve {

using base::JsonKind;
using base::JsonValue;
using tensor::Shape;
using tensor::Tensor;

base::Error Expected(std::string_view field, std::string_view what) {
  return base::InvalidArgument("'" + std::string(field) + "': expected " + std::string(what));
}

base::Result<bool> ReadFlag(std::string_view field, const JsonValue& value) {
  const auto flag = value.AsBool();
  if (!flag.ok()) return Expected(field, "true or false");
  return *flag;
}

base::Result<int64_t> ReadInteger(std::string_view field, const JsonValue& value, int64_t low,
                                  int64_t high) {
  const auto number = value.AsDouble();
  if (!number.ok() || *number != std::floor(*number) || !(*number >= static_cast<double>(low)) ||
      !(*number <= static_cast<double>(high))) {
    return Expected(field,
                    "an integer in [" + std::to_string(low) + ", " + std::to_string(high) + "]");
  }
  return static_cast<int64_t>(*number);
}

base::Result<std::string> ReadString(std::string_view field, const JsonValue& value) {
  if (!value.is_string()) return Expected(field, "a string");
  return std::string(TRY(value.AsString()));
}

base::Result<tensor::NamedTensor> ReadTools(const JsonValue& value) {
  if (!value.is_array()) return Expected("tools", "an array");
  std::string json;
  TRY(CopyJson(value, json));
  return TextTensor("tools", {std::move(json)});
}

base::Result<std::string> ReadObject(std::string_view field, const JsonValue& value) {
  if (!value.is_object()) return Expected(field, "an object");
  std::string json;
  TRY(CopyJson(value, json));
  return json;
}

base::Status CopyJson(const JsonValue& value, std::string& out) {
  switch (value.kind()) {
    case JsonKind::kNull:
      out += "null";
      return base::Ok();
    case JsonKind::kBool:
      out += TRY(value.AsBool()) ? "true" : "false";
      return base::Ok();
    case JsonKind::kInt:
      out += std::to_string(TRY(value.AsInt()));
      return base::Ok();
    case JsonKind::kUint:
      out += std::to_string(TRY(value.AsUint()));
      return base::Ok();
    case JsonKind::kDouble:
      base::AppendJsonDouble(TRY(value.AsDouble()), out);
      return base::Ok();
    case JsonKind::kString:
      base::AppendJsonString(TRY(value.AsString()), out);
      return base::Ok();
    case JsonKind::kArray: {
      out += '[';
      bool first = true;
      const auto one = [&](JsonValue element) -> base::Status {
        if (!std::exchange(first, false)) out += ',';
        return CopyJson(element, out);
      };
      TRY(value.ForEachElement(one));
      out += ']';
      return base::Ok();
    }
    case JsonKind::kObject: {
      out += '{';
      bool first = true;
      const auto one = [&](std::string_view key, JsonValue member) -> base::Status {
        if (!std::exchange(first, false)) out += ',';
        base::AppendJsonString(key, out);
        out += ':';
        return CopyJson(member, out);
      };
      TRY(value.ForEachMember(one));
      out += '}';
      return base::Ok();
    }
  }
  return base::Ok();
}

tensor::NamedTensor TextTensor(const char* name, const std::vector<std::string>& texts) {
  return {name, Tensor::FromStrings(Shape({static_cast<int64_t>(texts.size())}), texts)};
}

void KeepUnknown(std::string_view field, std::vector<std::string>& unknown) {
  if (unknown.size() < kUnknownMax) unknown.emplace_back(field.substr(0, kUnknownBytesMax));
}

}  // namespace sluice::serve

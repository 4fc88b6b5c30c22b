#include "text/format/json_fields.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/utf8.h"

namespace sluice::text {

using base::JsonValue;
using base::Result;
using base::Status;

Status CheckMembers(JsonValue object, std::initializer_list<std::string_view> known) {
  std::set<std::string_view> seen;
  return object.ForEachMember([&](std::string_view key, JsonValue) -> Status {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return base::Unimplemented("'" + std::string(key) + "' is not supported");
    }
    if (!seen.insert(key).second) {
      return base::InvalidArgument("'" + std::string(key) + "' occurs twice");
    }
    return base::Ok();
  });
}

Result<std::string> TypeOf(JsonValue object) {
  const JsonValue type = TRY(object.Get("type"));
  return std::string(TRY(type.AsString()));
}

Result<bool> BoolOr(JsonValue object, std::string_view key, bool absent) {
  const std::optional<JsonValue> value = TRY(object.Find(key));
  if (!value || value->is_null()) return absent;
  return Within(value->AsBool(), std::string(key));
}
Result<int64_t> IntOr(JsonValue object, std::string_view key, int64_t absent, int64_t least) {
  const std::optional<JsonValue> value = TRY(object.Find(key));
  if (!value || value->is_null()) return absent;
  const int64_t number = TRY(Within(value->AsInt(), std::string(key)));
  if (number < least || number > kFileNumberMax) {
    return base::InvalidArgument(std::string(key) + " is " + std::to_string(number) +
                                 ", expected " + std::to_string(least) + " to " +
                                 std::to_string(kFileNumberMax));
  }
  return number;
}
Result<std::string> StringOr(JsonValue object, std::string_view key, std::string_view absent) {
  const std::optional<JsonValue> value = TRY(object.Find(key));
  if (!value || value->is_null()) return std::string(absent);
  return std::string(TRY(Within(value->AsString(), std::string(key))));
}

Result<int32_t> IdOf(JsonValue value) {
  const int64_t id = TRY(value.AsInt());
  if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
    return base::InvalidArgument("token id " + std::to_string(id) + " is out of range");
  }
  return static_cast<int32_t>(id);
}

Result<std::optional<JsonValue>> Section(JsonValue root, std::string_view key) {
  std::optional<JsonValue> value = TRY(root.Find(key));
  if (value && value->is_null()) value.reset();
  return value;
}

Result<std::string> RuneOr(JsonValue object, std::string_view key, std::string_view absent) {
  std::string text = TRY(StringOr(object, key, absent));
  if (text.empty() || static_cast<size_t>(base::DecodeRune(text, 0).bytes) != text.size()) {
    return base::InvalidArgument(std::string(key) + " is '" + text + "', expected one character");
  }
  return text;
}

}  // namespace sluice::text

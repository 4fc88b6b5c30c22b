// Reading the members of a tokenizer.json's objects, with messages that say where.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/result.h"

namespace sluice::text {

// The longest length or largest count that a file may name.
inline constexpr int64_t kFileNumberMax = int64_t{1} << 30;

// The error with `where` before its message.
inline base::Status Within(base::Status status, const std::string& where) {
  if (status.ok()) return status;
  return base::Error{status.error().code, where + ": " + status.error().message};
}
template <class T>
base::Result<T> Within(base::Result<T> result, const std::string& where) {
  if (result.ok()) return result;
  return base::Error{result.error().code, where + ": " + result.error().message};
}

// Refuses members other than `known`, and members that occur twice.
base::Status CheckMembers(base::JsonValue object, std::initializer_list<std::string_view> known);
// The member "type".
base::Result<std::string> TypeOf(base::JsonValue object);
// The member `key`, or `absent` when it is missing or null. Numbers from `least` to kFileNumberMax.
base::Result<bool> BoolOr(base::JsonValue object, std::string_view key, bool absent);
base::Result<int64_t> IntOr(base::JsonValue object, std::string_view key, int64_t absent,
                            int64_t least);
base::Result<std::string> StringOr(base::JsonValue object, std::string_view key,
                                   std::string_view absent);
// A token id.
base::Result<int32_t> IdOf(base::JsonValue value);
// The member `key`, one character.
base::Result<std::string> RuneOr(base::JsonValue object, std::string_view key,
                                 std::string_view absent);
// A member that is present and not null.
base::Result<std::optional<base::JsonValue>> Section(base::JsonValue root, std::string_view key);

}  // namespace sluice::text

// Fields of JSON bodies, whatever the dialect: what was expected is said by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace sluice::serve {

base::Error Expected(std::string_view field, std::string_view what);

base::Result<bool> ReadFlag(std::string_view field, const base::JsonValue& value);
base::Result<int64_t> ReadInteger(std::string_view field, const base::JsonValue& value, int64_t low,
                                  int64_t high);
base::Result<std::string> ReadString(std::string_view field, const base::JsonValue& value);
// An array, as the JSON text of the input "tools".
base::Result<tensor::NamedTensor> ReadTools(const base::JsonValue& value);
// An object, as JSON text.
base::Result<std::string> ReadObject(std::string_view field, const base::JsonValue& value);

// Appends `value` as JSON text.
base::Status CopyJson(const base::JsonValue& value, std::string& out);
// BYTES [texts].
tensor::NamedTensor TextTensor(const char* name, const std::vector<std::string>& texts);

// Fields that nobody knows are kept for the log: so many of them, each cut to so many bytes.
inline constexpr size_t kUnknownMax = 8;
inline constexpr size_t kUnknownBytesMax = 64;
void KeepUnknown(std::string_view field, std::vector<std::string>& unknown);

}  // namespace sluice::serve

#include "lm/checkpoint/config_keys.h"

#include <cmath>

namespace sluice::lm {

using base::JsonValue;

base::Error ConfigKeys::Expected(const char* key, const std::string& what) const {
  return base::InvalidArgument(file_ + ": " + key + ": expected " + what);
}

base::Result<std::optional<JsonValue>> ConfigKeys::Find(const char* key) const {
  std::optional<JsonValue> value = TRY(object_.Find(key));
  if (value.has_value() && value->is_null()) value.reset();
  return value;
}

bool ConfigKeys::Has(const char* key) const {
  const auto found = Find(key);
  return found.ok() && found->has_value();
}

base::Result<int64_t> ConfigKeys::Size(const char* key, std::optional<int64_t> otherwise) const {
  const std::optional<JsonValue> value = TRY(Find(key));
  if (!value.has_value()) {
    if (otherwise.has_value()) return *otherwise;
    return base::InvalidArgument(file_ + ": expected " + key);
  }
  const auto size = value->AsInt();
  if (!size.ok() || *size < 1 || *size > kSizeMax) {
    return Expected(key, "an integer in [1, " + std::to_string(kSizeMax) + "]");
  }
  return *size;
}

base::Result<double> ConfigKeys::Number(const char* key, double otherwise) const {
  const std::optional<JsonValue> value = TRY(Find(key));
  if (!value.has_value()) return otherwise;
  const auto number = value->AsDouble();
  if (!number.ok() || !std::isfinite(*number)) return Expected(key, "a number");
  return *number;
}

base::Result<bool> ConfigKeys::Bool(const char* key, bool otherwise) const {
  const std::optional<JsonValue> value = TRY(Find(key));
  if (!value.has_value()) return otherwise;
  const auto flag = value->AsBool();
  if (!flag.ok()) return Expected(key, "true or false");
  return *flag;
}

base::Result<std::string> ConfigKeys::Text(const char* key, const char* otherwise) const {
  const std::optional<JsonValue> value = TRY(Find(key));
  if (!value.has_value()) return std::string(otherwise);
  const auto text = value->AsString();
  if (!text.ok()) return Expected(key, "a string");
  return std::string(*text);
}

base::Result<std::optional<std::vector<bool>>> ConfigKeys::WindowedLayers(int64_t layers) const {
  const std::optional<JsonValue> types = TRY(Find("layer_types"));
  if (!types.has_value()) return std::optional<std::vector<bool>>();
  std::vector<bool> windowed;
  const auto read = [&](JsonValue type) -> base::Status {
    const std::string_view name = TRY(type.AsString());
    windowed.push_back(name == "sliding_attention");
    return base::Ok();
  };
  TRY(types->ForEachElement(read));
  if (static_cast<int64_t>(windowed.size()) != layers) {
    return Expected("layer_types",
                    std::to_string(layers) + " of them, got " + std::to_string(windowed.size()));
  }
  return std::optional(std::move(windowed));
}

}  // namespace sluice::lm

// Members of a JSON object of a model folder's files, by key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace sluice::lm {

// An absent member and null are the same. kInvalidArgument names the file, the key and what was
// expected. The document of `object` outlives this.
class ConfigKeys {
 public:
  static constexpr int64_t kSizeMax = int64_t{1} << 24;  // of a width, a vocabulary, a context

  explicit ConfigKeys(base::JsonValue object, std::string file = "config.json")
      : object_(object), file_(std::move(file)) {}

  base::Result<std::optional<base::JsonValue>> Find(const char* key) const;
  bool Has(const char* key) const;
  // In [1, kSizeMax].
  base::Result<int64_t> Size(const char* key, std::optional<int64_t> otherwise = {}) const;
  base::Result<double> Number(const char* key, double otherwise) const;
  base::Result<bool> Bool(const char* key, bool otherwise) const;
  base::Result<std::string> Text(const char* key, const char* otherwise) const;
  // Of `layers` layers, which have a window of attention: layer_types. Nothing when it is absent.
  base::Result<std::optional<std::vector<bool>>> WindowedLayers(int64_t layers) const;

 private:
  base::Error Expected(const char* key, const std::string& what) const;

  base::JsonValue object_;
  std::string file_;
};

}  // namespace sluice::lm

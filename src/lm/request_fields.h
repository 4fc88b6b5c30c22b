// Tensors and parameters of a request to a language model, read and checked by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/request.h"

namespace sluice::lm {

// Token ids of an input of I32 or I64, [n] or [1, n]; kInvalidArgument when one is outside
// [0, vocabulary).
base::Result<std::vector<int32_t>> ReadIds(const tensor::NamedTensor& input, int64_t vocabulary);

// Of INT32 or INT64, [n]: numbers in [low, high].
base::Result<std::vector<int32_t>> ReadCounts(const tensor::NamedTensor& input, int64_t low,
                                              int64_t high);
// Of FP32, [n].
base::Result<std::span<const float>> ReadFloats(const tensor::NamedTensor& input);
// Of BYTES, [1].
base::Result<std::string_view> ReadText(const tensor::NamedTensor& input);
// Of BYTES, [n] with 1 <= n <= count_max.
base::Result<std::span<const std::string_view>> ReadTexts(const tensor::NamedTensor& input,
                                                          int64_t count_max);

// Of reading a request and tokenising its texts, about.
base::Duration PrepareCostOf(const engine::Request& request);

// Reads parameters by name; what is absent leaves `out` as it is. kInvalidArgument says what was
// expected. The parameters outlive the reader.
class ParameterReader {
 public:
  explicit ParameterReader(const engine::Parameters& parameters) : parameters_(parameters) {}

  base::Status Number(const char* name, double low, double high, float& out);
  template <class T>
  base::Status Integer(const char* name, int64_t low, int64_t high, T& out) {
    int64_t value = 0;
    bool found = false;
    TRY(Whole(name, low, high, value, found));
    if (found) out = static_cast<T>(value);
    return base::Ok();
  }
  base::Status Bool(const char* name, bool& out);
  base::Status Text(const char* name, size_t bytes_max, std::string& out);

 private:
  const engine::Parameter* Find(const char* name) const;
  base::Status Whole(const char* name, int64_t low, int64_t high, int64_t& out, bool& found);

  const engine::Parameters& parameters_;
};

}  // namespace sluice::lm

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
// Of BYTES, [n] or [n, 1] with 1 <= n <= count_max.
base::Result<std::span<const std::string_view>> ReadTexts(const tensor::NamedTensor& input,
                                                          int64_t count_max);

// Lists of tokens one behind the other.
struct TokenLists {
  std::vector<int32_t> tokens;
  std::vector<int64_t> ends;  // of each list

  size_t size() const { return ends.size(); }
  int64_t begin_of(size_t i) const { return i == 0 ? 0 : ends[i - 1]; }
  std::span<const int32_t> operator[](size_t i) const {
    return std::span(tokens).subspan(static_cast<size_t>(begin_of(i)),
                                     static_cast<size_t>(ends[i] - begin_of(i)));
  }
  void Add(std::span<const int32_t> list) {
    tokens.insert(tokens.end(), list.begin(), list.end());
    ends.push_back(static_cast<int64_t>(tokens.size()));
  }
};

struct TokenListInputs {
  const tensor::NamedTensor* ids = nullptr;
  const tensor::NamedTensor* lengths = nullptr;  // null: the ids are one list
  const char* lengths_name = "";                 // for messages
};
// 1 to `lists_max` lists of at least one token, whose lengths come to the ids' count.
// kInvalidArgument says what was expected and what came.
base::Result<TokenLists> ReadTokenLists(const TokenListInputs& inputs, int64_t vocabulary,
                                        int64_t lists_max);

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

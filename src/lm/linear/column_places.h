// Columns of a layer that are computed without the others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <tuple>
#include <vector>

namespace sluice::lm {

// Immutable. Any columns in any order, some perhaps more than once; kept in the order of the layer,
// in which neighbours are computed together.
class ColumnPlaces {
 public:
  struct One {
    int32_t column;
    int32_t place;  // in a row of the result
  };
  ColumnPlaces() = default;
  explicit ColumnPlaces(std::span<const int32_t> columns) {
    all_.reserve(columns.size());
    for (const int32_t column : columns) all_.push_back({column, static_cast<int32_t>(size())});
    std::sort(all_.begin(), all_.end(), [](const One& a, const One& b) {
      return std::tie(a.column, a.place) < std::tie(b.column, b.place);
    });
  }

  int64_t size() const { return static_cast<int64_t>(all_.size()); }
  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }

 private:
  std::vector<One> all_;  // by column, ascending
};

}  // namespace sluice::lm

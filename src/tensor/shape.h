// Concrete shapes with checked arithmetic. Symbolic dimensions of a model's interface are in dim.h.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/check.h"
#include "base/result.h"

namespace sluice::tensor {

inline constexpr int kMaxRank = 8;

// Extents of a dense row-major tensor, rank 0 to 8, held inline: copying allocates nothing. Extents
// are >= 0.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  // Our own dims: rank and sign are CHECKed. For dims from outside use FromDims.
  explicit Shape(std::span<const int64_t> dims);
  // kInvalidArgument when the rank is above kMaxRank, a dim is negative or the element count
  // overflows int64.
  static base::Result<Shape> FromDims(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t dim(int axis) const {
    DCHECK(axis >= 0 && axis < rank_);
    return dims_[axis];
  }
  int64_t operator[](int axis) const { return dim(axis); }
  void set_dim(int axis, int64_t extent) {
    DCHECK(axis >= 0 && axis < rank_ && extent >= 0);
    dims_[axis] = extent;
  }
  std::span<const int64_t> dims() const { return {dims_, static_cast<size_t>(rank_)}; }
  // Product of all extents; 1 for rank 0.
  int64_t elements() const;
  // Product of the extents [begin, end).
  int64_t elements(int begin, int end) const;
  void Append(int64_t extent);
  std::string ToString() const;  // "[2, 3]"

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i) {
      if (a.dims_[i] != b.dims_[i]) return false;
    }
    return true;
  }

 private:
  int64_t dims_[kMaxRank] = {};
  int rank_ = 0;
};

// elements * element bytes, or kInvalidArgument when it overflows int64.
base::Result<int64_t> CheckedBytes(const Shape& shape, int64_t element_bytes);

}  // namespace sluice::tensor

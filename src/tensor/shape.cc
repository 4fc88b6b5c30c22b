#include "tensor/shape.h"

namespace sluice::tensor {

Shape::Shape(std::span<const int64_t> dims) {
  CHECK_LE(dims.size(), static_cast<size_t>(kMaxRank));
  rank_ = static_cast<int>(dims.size());
  for (int i = 0; i < rank_; ++i) {
    CHECK_GE(dims[static_cast<size_t>(i)], 0);
    dims_[i] = dims[static_cast<size_t>(i)];
  }
}

base::Result<Shape> Shape::FromDims(std::span<const int64_t> dims) {
  if (dims.size() > static_cast<size_t>(kMaxRank)) {
    return base::InvalidArgument("rank " + std::to_string(dims.size()) + " is above the limit of " +
                                 std::to_string(kMaxRank));
  }
  int64_t product = 1;
  for (const int64_t d : dims) {
    if (d < 0) return base::InvalidArgument("negative dimension " + std::to_string(d));
    if (d != 0 && __builtin_mul_overflow(product, d, &product)) {
      return base::InvalidArgument("the element count of the shape overflows 64 bits");
    }
  }
  return Shape(dims);
}

int64_t Shape::elements() const {
  return elements(0, rank_);
}

int64_t Shape::elements(int begin, int end) const {
  int64_t product = 1;
  for (int i = begin; i < end; ++i) product *= dims_[i];
  return product;
}

void Shape::Append(int64_t extent) {
  CHECK_LT(rank_, kMaxRank);
  dims_[rank_++] = extent;
}

std::string Shape::ToString() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(dims_[i]);
  }
  return text + "]";
}

base::Result<int64_t> CheckedBytes(const Shape& shape, int64_t element_bytes) {
  int64_t bytes = element_bytes;
  for (const int64_t d : shape.dims()) {
    if (__builtin_mul_overflow(bytes, d, &bytes)) {
      return base::InvalidArgument("the byte size of shape " + shape.ToString() +
                                   " overflows 64 bits");
    }
  }
  return bytes;
}

}  // namespace sluice::tensor

// Positions that come from data: read from int32 or int64, wrapped from the end, checked before
// use.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

inline int64_t IndexAt(const tensor::ConstView& indices, int64_t i) {
  return indices.dtype == tensor::DType::kI32 ? static_cast<const int32_t*>(indices.data)[i]
                                              : static_cast<const int64_t*>(indices.data)[i];
}

// `index` counted from the front, or -1 when it is outside [-extent, extent).
inline int64_t WrapIndex(int64_t index, int64_t extent) {
  if (index < -extent || index >= extent) return -1;
  return index < 0 ? index + extent : index;
}

inline base::Error IndexError(const char* op, int64_t index, int64_t extent, int64_t position) {
  return base::InvalidArgument(std::string(op) + ": index " + std::to_string(index) +
                               " at position " + std::to_string(position) +
                               " is outside an axis of " + std::to_string(extent));
}

}  // namespace sluice::kernels::ref

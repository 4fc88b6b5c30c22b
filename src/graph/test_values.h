// Reads elements of results in tests, whatever their float type.
#pragma once

#include <cstdint>

#include "tensor/float16.h"
#include "tensor/view.h"

namespace sluice::graph {

// Element `i` of a float tensor in double; 0 for other types, which tests compare bytewise.
inline double ValueAt(const tensor::ConstView& view, int64_t i) {
  switch (view.dtype) {
    case tensor::DType::kF32:
      return static_cast<double>(view.as<float>()[i]);
    case tensor::DType::kF64:
      return view.as<double>()[i];
    case tensor::DType::kF16:
      return static_cast<double>(tensor::ToFloat(view.as<tensor::F16>()[i]));
    case tensor::DType::kBF16:
      return static_cast<double>(tensor::ToFloat(view.as<tensor::BF16>()[i]));
    default:
      return 0;
  }
}

}  // namespace sluice::graph

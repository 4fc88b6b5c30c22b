// Makes inputs for tests, and reads elements of results whatever their float type.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>

#include "tensor/float16.h"
#include "tensor/tensor.h"
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

// f32 in [-1, 1).
inline tensor::Tensor Random(const tensor::Shape& shape, uint32_t seed) {
  tensor::Tensor tensor = tensor::Tensor::Allocate(tensor::DType::kF32, shape, 1 << 30).value();
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> values(-1, 1);
  for (float& v : tensor.mutable_view().span<float>()) v = values(random);
  return tensor;
}

// Of the angle between two f32 tensors of one size, taken as vectors.
inline double Cosine(const tensor::Tensor& a, const tensor::Tensor& b) {
  double ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < a.shape.elements(); ++i) {
    const double x = static_cast<double>(a.view().as<float>()[i]);
    const double y = static_cast<double>(b.view().as<float>()[i]);
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace sluice::graph

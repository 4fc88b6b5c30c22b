// Half and bfloat16 as storage types with conversions to and from float. Arithmetic is done in
// float.
#pragma once

#include <bit>
#include <cstdint>

#include "tensor/dtype.h"

namespace sluice::tensor {

// IEEE 754 binary16 bits.
struct F16 {
  uint16_t bits = 0;
};
// bfloat16 bits: the upper half of a binary32.
struct BF16 {
  uint16_t bits = 0;
};
template <>
struct DTypeTrait<F16> {
  static constexpr DType value = DType::kF16;
};
template <>
struct DTypeTrait<BF16> {
  static constexpr DType value = DType::kBF16;
};

inline float ToFloat(BF16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}
float ToFloat(F16 x);
// Round to nearest, ties to even; overflow becomes infinity, NaN stays NaN.
F16 ToF16(float x);
BF16 ToBF16(float x);

}  // namespace sluice::tensor

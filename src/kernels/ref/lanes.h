// How the reference kernels touch elements: runs of up to kLanes are widened to double, int64 or
// uint64, worked on, and narrowed with one rounding, so that each arithmetic is written once and
// not once per dtype.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/check.h"
#include "tensor/float16.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

// Elements that are widened at a time; a buffer of this many 64-bit lanes is 2 KiB of stack.
inline constexpr int64_t kLanes = 256;

// Widens n <= kLanes elements at base[first + i * stride]. W is double, int64_t or uint64_t; floats
// to integers truncate and saturate, NaN gives 0. bool reads as 0 or 1. Not for kBytes.
template <class W>
void LoadLanes(tensor::DType dtype, const void* base, int64_t first, int64_t stride, int64_t n,
               W* out);

// Narrows n lanes into base[first + i * stride]: one rounding to a float, saturating truncation
// from double to an integer, low bits between integers, non-zero is true; storage types as
// tensor::EncodeNarrow rounds.
template <class W>
void StoreLanes(tensor::DType dtype, void* base, int64_t first, int64_t stride, int64_t n,
                const W* in);

// One element.
template <class W>
W LoadOne(tensor::DType dtype, const void* base, int64_t index) {
  W value;
  LoadLanes(dtype, base, index, 1, 1, &value);
  return value;
}
template <class W>
void StoreOne(tensor::DType dtype, void* base, int64_t index, W value) {
  StoreLanes(dtype, base, index, 1, 1, &value);
}

// f(W{}) with the wide type in which `dtype` is computed: double for floats, int64_t, or uint64_t
// (bool too).
template <class F>
decltype(auto) WithWide(tensor::DType dtype, F&& f) {
  using enum tensor::DType;
  switch (dtype) {
    case kF32:
    case kF16:
    case kBF16:
    case kF64:
      return f(double{});
    case kI8:
    case kI16:
    case kI32:
    case kI64:
      return f(int64_t{});
    case kU8:
    case kU16:
    case kU32:
    case kU64:
    case kBool:
      return f(uint64_t{});
    case kI4:
    case kI2:
      return f(int64_t{});
    case kU4:
    case kU2:
      return f(uint64_t{});
    case kF8E4M3FN:
    case kF8E4M3FNUZ:
    case kF8E5M2:
    case kF8E5M2FNUZ:
    case kF8E8M0:
    case kF4E2M1:
      return f(double{});
    case kBytes:
      break;
  }
  CHECK(false) << "arithmetic on byte strings";
  return f(double{});
}

// Two's-complement wrap-around for int64_t, modular arithmetic for uint64_t, plain for double.
template <class W>
W WrapAdd(W a, W b) {
  if constexpr (std::is_integral_v<W>) {
    return static_cast<W>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  } else {
    return a + b;
  }
}
template <class W>
W WrapMul(W a, W b) {
  if constexpr (std::is_integral_v<W>) {
    return static_cast<W>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  } else {
    return a * b;
  }
}

}  // namespace sluice::kernels::ref

// From a DType known at run time to a C++ type: for reference kernels and conversions, one branch
// per tensor.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/float16.h"

namespace sluice::tensor {

template <class T>
struct TypeTag {
  using type = T;
};

// Calls visit(TypeTag<T>{}) with the element type of `dtype`; false, without a call, when that is
// not a float type.
//   const bool known = DispatchFloat(x.dtype, [&](auto tag) { using T = typename
//   decltype(tag)::type; … });
template <class Visitor>
bool DispatchFloat(DType dtype, Visitor&& visit) {
  switch (dtype) {
    case DType::kF32:
      visit(TypeTag<float>{});
      return true;
    case DType::kF16:
      visit(TypeTag<F16>{});
      return true;
    case DType::kBF16:
      visit(TypeTag<BF16>{});
      return true;
    case DType::kF64:
      visit(TypeTag<double>{});
      return true;
    default:
      return false;
  }
}

// The same for the eight integer types.
template <class Visitor>
bool DispatchInteger(DType dtype, Visitor&& visit) {
  switch (dtype) {
    case DType::kI8:
      visit(TypeTag<int8_t>{});
      return true;
    case DType::kI16:
      visit(TypeTag<int16_t>{});
      return true;
    case DType::kI32:
      visit(TypeTag<int32_t>{});
      return true;
    case DType::kI64:
      visit(TypeTag<int64_t>{});
      return true;
    case DType::kU8:
      visit(TypeTag<uint8_t>{});
      return true;
    case DType::kU16:
      visit(TypeTag<uint16_t>{});
      return true;
    case DType::kU32:
      visit(TypeTag<uint32_t>{});
      return true;
    case DType::kU64:
      visit(TypeTag<uint64_t>{});
      return true;
    default:
      return false;
  }
}

// Floats, integers and bool: everything but kBytes.
template <class Visitor>
bool DispatchFixed(DType dtype, Visitor&& visit) {
  if (dtype == DType::kBool) {
    visit(TypeTag<bool>{});
    return true;
  }
  return DispatchFloat(dtype, visit) || DispatchInteger(dtype, visit);
}

// What arithmetic on T is done in: reads any fixed type as double or, for the wide integers, as
// itself.
inline double ToDouble(float x) {
  return static_cast<double>(x);
}
inline double ToDouble(double x) {
  return x;
}
inline double ToDouble(F16 x) {
  return static_cast<double>(ToFloat(x));
}
inline double ToDouble(BF16 x) {
  return static_cast<double>(ToFloat(x));
}

// Rounds to the float type T; to the 16-bit types by way of float.
template <class T>
T FromDouble(double x);
template <>
inline float FromDouble<float>(double x) {
  return static_cast<float>(x);
}
template <>
inline double FromDouble<double>(double x) {
  return x;
}
template <>
inline F16 FromDouble<F16>(double x) {
  return ToF16(static_cast<float>(x));
}
template <>
inline BF16 FromDouble<BF16>(double x) {
  return ToBF16(static_cast<float>(x));
}

}  // namespace sluice::tensor

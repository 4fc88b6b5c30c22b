#include "kernels/ref/lanes.h"

#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "tensor/narrow.h"

namespace sluice::kernels::ref {
namespace {

using tensor::BF16;
using tensor::DType;
using tensor::F16;

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, F16> || std::is_same_v<T, BF16>;

// Saturating truncation; NaN gives 0. The bounds are exact powers of two in double.
template <class I>
I TruncateTo(double x) {
  constexpr int kBits = std::numeric_limits<I>::digits;
  const double above = std::ldexp(1.0, kBits);
  if (std::isnan(x)) return 0;
  if (x >= above) return std::numeric_limits<I>::max();
  if (std::is_signed_v<I> ? x <= -above : x <= 0) return std::numeric_limits<I>::min();
  return static_cast<I>(x);
}

// Rounds to odd, so that a second rounding to 16 bits is the only one that counts.
float ToFloatOdd(double x) {
  const float near = static_cast<float>(x);
  if (std::isnan(x) || static_cast<double>(near) == x) return near;
  uint32_t bits = std::bit_cast<uint32_t>(near);
  if (std::fabs(static_cast<double>(near)) > std::fabs(x)) --bits;
  return std::bit_cast<float>(bits | 1u);
}

template <class W, class T>
W Widen(T x) {
  if constexpr (kIsHalf<T>) {
    return Widen<W>(static_cast<double>(ToFloat(x)));
  } else if constexpr (std::is_floating_point_v<T> && !std::is_floating_point_v<W>) {
    return TruncateTo<W>(static_cast<double>(x));
  } else {
    return static_cast<W>(x);
  }
}

template <class T, class W>
T Narrow(W x) {
  if constexpr (std::is_same_v<T, bool>) {
    return x != 0;
  } else if constexpr (kIsHalf<T>) {
    const float odd = [&] {
      if constexpr (std::is_same_v<W, double>)
        return ToFloatOdd(x);
      else
        return static_cast<float>(x);
    }();
    if constexpr (std::is_same_v<T, F16>)
      return tensor::ToF16(odd);
    else
      return tensor::ToBF16(odd);
  } else if constexpr (std::is_integral_v<T> && std::is_floating_point_v<W>) {
    return TruncateTo<T>(x);
  } else {
    return static_cast<T>(x);
  }
}

template <class F>
void WithType(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kF16:
      return f(F16{});
    case DType::kBF16:
      return f(BF16{});
    case DType::kF64:
      return f(double{});
    case DType::kI8:
      return f(int8_t{});
    case DType::kI16:
      return f(int16_t{});
    case DType::kI32:
      return f(int32_t{});
    case DType::kI64:
      return f(int64_t{});
    case DType::kU8:
      return f(uint8_t{});
    case DType::kU16:
      return f(uint16_t{});
    case DType::kU32:
      return f(uint32_t{});
    case DType::kU64:
      return f(uint64_t{});
    case DType::kBool:
      return f(bool{});
    default:
      break;
  }
  CHECK(false) << "arithmetic on " << tensor::DTypeName(dtype);
}

}  // namespace

template <class W>
void LoadLanes(DType dtype, const void* base, int64_t first, int64_t stride, int64_t n, W* out) {
  DCHECK(n <= kLanes);
  if (tensor::IsStorage(dtype)) {
    const uint8_t* from = static_cast<const uint8_t*>(base) + first;
    for (int64_t i = 0; i < n; ++i) {
      out[i] = Widen<W>(static_cast<double>(tensor::DecodeNarrow(dtype, from[i * stride])));
    }
    return;
  }
  WithType(dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* from = static_cast<const T*>(base) + first;
    if (stride == 1) {
      for (int64_t i = 0; i < n; ++i) out[i] = Widen<W>(from[i]);
    } else if (stride == 0) {
      const W value = n > 0 ? Widen<W>(from[0]) : W(0);
      for (int64_t i = 0; i < n; ++i) out[i] = value;
    } else {
      for (int64_t i = 0; i < n; ++i) out[i] = Widen<W>(from[i * stride]);
    }
  });
}

template <class W>
void StoreLanes(DType dtype, void* base, int64_t first, int64_t stride, int64_t n, const W* in) {
  DCHECK(n <= kLanes);
  if (tensor::IsStorage(dtype)) {
    uint8_t* to = static_cast<uint8_t*>(base) + first;
    for (int64_t i = 0; i < n; ++i) {
      // Low bits between integers: a byte keeps more of them than any narrow integer has.
      to[i * stride] = tensor::IsNarrowInteger(dtype) && !std::is_same_v<W, double>
                           ? tensor::EncodeNarrow(dtype, static_cast<int8_t>(in[i]))
                           : tensor::EncodeNarrow(dtype, static_cast<double>(in[i]));
    }
    return;
  }
  WithType(dtype, [&](auto tag) {
    using T = decltype(tag);
    T* to = static_cast<T*>(base) + first;
    for (int64_t i = 0; i < n; ++i) to[i * stride] = Narrow<T>(in[i]);
  });
}

template void LoadLanes(DType, const void*, int64_t, int64_t, int64_t, double*);
template void LoadLanes(DType, const void*, int64_t, int64_t, int64_t, int64_t*);
template void LoadLanes(DType, const void*, int64_t, int64_t, int64_t, uint64_t*);
template void StoreLanes(DType, void*, int64_t, int64_t, int64_t, const double*);
template void StoreLanes(DType, void*, int64_t, int64_t, int64_t, const int64_t*);
template void StoreLanes(DType, void*, int64_t, int64_t, int64_t, const uint64_t*);

}  // namespace sluice::kernels::ref

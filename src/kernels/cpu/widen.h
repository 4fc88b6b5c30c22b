// Reads runs of any supported dtype as f32, for the files that are compiled once per target.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/math.h"
#include "tensor/dtype.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

HWY_INLINE float WidenF16(uint16_t bits) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}
HWY_INLINE float WidenBF16(uint16_t bits) {
  return _mm_cvtss_f32(
      _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(static_cast<uint32_t>(bits) << 16))));
}

// One element at data[index].
HWY_INLINE float WidenOne(tensor::DType type, const void* data, int64_t index) {
  using tensor::DType;
  switch (type) {
    case DType::kF16:
      return WidenF16(static_cast<const uint16_t*>(data)[index]);
    case DType::kBF16:
      return WidenBF16(static_cast<const uint16_t*>(data)[index]);
    case DType::kI32:
      return static_cast<float>(static_cast<const int32_t*>(data)[index]);
    case DType::kI64:
      return static_cast<float>(static_cast<const int64_t*>(data)[index]);
    case DType::kU8:
      return static_cast<float>(static_cast<const uint8_t*>(data)[index]);
    case DType::kBool:
      return static_cast<const uint8_t*>(data)[index] != 0 ? 1.0f : 0.0f;
    default:
      return static_cast<const float*>(data)[index];
  }
}

// One vector of f16 or bf16 bits.
HWY_INLINE VF WidenHalf(const uint16_t* from) {
  const F32 d;
  const hn::Rebind<uint16_t, F32> dh;
  const hn::Rebind<hwy::float16_t, F32> df16;
  return hn::PromoteTo(d, hn::BitCast(df16, hn::LoadU(dh, from)));
}
HWY_INLINE VF WidenBrain(const uint16_t* from) {
  const F32 d;
  const hn::RebindToUnsigned<F32> du;
  const hn::Rebind<uint16_t, F32> dh;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, from))));
}

// to[i] = from[i] for i < n.
inline void WidenRun(tensor::DType type, const void* data, int64_t n, float* HWY_RESTRICT to) {
  using tensor::DType;
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  if (type == DType::kF16) {
    const auto* from = static_cast<const uint16_t*>(data);
    for (; i + lanes <= n; i += lanes) hn::StoreU(WidenHalf(from + i), d, to + i);
  } else if (type == DType::kBF16) {
    const auto* from = static_cast<const uint16_t*>(data);
    for (; i + lanes <= n; i += lanes) hn::StoreU(WidenBrain(from + i), d, to + i);
  } else if (type == DType::kI32) {
    const auto* from = static_cast<const int32_t*>(data);
    const I32 di;
    for (; i + lanes <= n; i += lanes)
      hn::StoreU(hn::ConvertTo(d, hn::LoadU(di, from + i)), d, to + i);
  } else if (type == DType::kI64) {
    const auto* from = static_cast<const int64_t*>(data);
    for (; i < n; ++i) to[i] = static_cast<float>(from[i]);
  } else if (type == DType::kF32) {
    const auto* from = static_cast<const float*>(data);
    for (; i + lanes <= n; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  }
  for (; i < n; ++i) to[i] = WidenOne(type, data, i);
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

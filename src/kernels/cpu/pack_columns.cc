// Compiled once per target: columns of weights into codes, at load.
#include "kernels/cpu/pack_columns.h"

#include "kernels/cpu/range.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr int64_t kLanes = static_cast<int64_t>(sizeof(VF) / sizeof(float));
using U8 = hn::Rebind<uint8_t, F32>;
using I8 = hn::Rebind<int8_t, F32>;

// f(i, x[i …]) for every vector of the run; behind its end stand zeros.
template <class F>
HWY_INLINE void ForVectors(const float* x, int64_t count, F f) {
  const F32 d;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, hn::LoadU(d, x + i));
  if (i < count) f(i, hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count - i)), d, x + i));
}

// Of fewer elements than a vector has.
Range FindShortRange(const float* x, int64_t count) {
  Range range = {x[0], x[0], true};
  for (int64_t i = 0; i < count; ++i) {
    range.low = x[i] < range.low ? x[i] : range.low;
    range.high = x[i] > range.high ? x[i] : range.high;
    range.finite = range.finite && x[i] * 0.0f == 0.0f;
  }
  return range;
}

Range RangeOf(const float* x, int64_t count) {
  return count < kLanes ? FindShortRange(x, count) : FindRange<false>(x, count);
}

}  // namespace

float SignedPeak(const float* x, int64_t k) {
  const Range range = RangeOf(x, k);
  if (!range.finite) return __builtin_nanf("");
  return -range.low >= range.high ? range.low : range.high;
}

int32_t ExactPeakCode(const float* x, int64_t k, float peak) {
  // What rounding a product of a code and a scale to f32, and dividing again, leaves.
  constexpr float kSlack = 1e-4f;
  const F32 d;
  const VF slack = hn::Set(d, kSlack);
  const float magnitude = peak < 0 ? -peak : peak;
  for (int32_t code = peak < 0 ? 128 : 127; code >= 1; --code) {
    const float factor = static_cast<float>(code) / magnitude;
    if (factor * 0.0f != 0.0f) continue;
    const VF by = hn::Set(d, factor);
    const auto fits = [&](VF v) HWY_ATTR {
      const VF scaled = hn::Mul(v, by);
      return hn::AllTrue(d, hn::Le(hn::Abs(hn::Sub(scaled, hn::Round(scaled))), slack));
    };
    bool all = true;
    int64_t i = 0;
    for (; all && i + kLanes <= k; i += kLanes) all = fits(hn::LoadU(d, x + i));
    if (all && i < k)
      all = fits(hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(k - i)), d, x + i));
    if (all) return code;
  }
  return 0;
}

int32_t EncodeColumn(const float* x, int64_t k, float factor, int8_t* codes) {
  const F32 d;
  const I32 di;
  const VF by = hn::Set(d, factor);
  auto sum = hn::Zero(di);
  const auto encode = [&](VF v) HWY_ATTR {
    const auto near = hn::NearestInt(hn::Mul(v, by));
    return hn::Min(hn::Max(near, hn::Set(di, -128)), hn::Set(di, 127));
  };
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    const auto code = encode(hn::LoadU(d, x + i));
    sum = hn::Add(sum, code);
    hn::StoreU(hn::DemoteTo(I8(), code), I8(), codes + i);
  }
  if (i < k) {
    const auto code = encode(hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(k - i)), d, x + i));
    sum = hn::Add(sum, code);
    int8_t last[kLanes];
    hn::StoreU(hn::DemoteTo(I8(), code), I8(), last);
    for (int64_t j = 0; i < k; ++i, ++j) codes[i] = last[j];
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

namespace {

HWY_INLINE float ToFloat(uint16_t brain) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(brain) << 16);
}

// Round to nearest, ties to even, of a finite x.
HWY_INLINE uint16_t ToBrain(float x) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// The first element of the largest magnitude.
float FirstPeak(const float* x, int64_t count, float magnitude) {
  const F32 d;
  const VF most = hn::Set(d, magnitude);
  for (int64_t i = 0; i < count; i += kLanes) {
    const auto at = hn::FindFirstTrue(d, hn::Eq(hn::Abs(hn::LoadU(d, x + i)), most));
    if (at >= 0) return x[i + at];
  }
  return 0;
}

}  // namespace

bool PackInt4Lane(const float* x, const Int4Lane& at) {
  constexpr int64_t kPanel = 16;
  constexpr int64_t kBlockBytes = 256;
  const F32 d;
  const I32 di;
  std::byte* to = at.panel;
  for (int64_t k0 = 0; k0 < at.k; k0 += at.group) {
    const int64_t count = at.k - k0 < at.group ? at.k - k0 : at.group;
    const Range range = FindRange<false>(x + k0, count);
    if (!range.finite) return false;
    uint16_t scale, least = 0;
    if (at.minimum) {
      least = ToBrain(range.low);
      const float step = (range.high - ToFloat(least)) / 15.0f;
      scale = ToBrain(step > 0.0f ? step : 0.0f);
      __builtin_memcpy(to + 2 * (kPanel + at.lane), &least, 2);
    } else {
      const float magnitude = -range.low > range.high ? -range.low : range.high;
      scale = ToBrain(FirstPeak(x + k0, count, magnitude) / -8.0f);
    }
    __builtin_memcpy(to + 2 * at.lane, &scale, 2);
    to += at.minimum ? 4 * kPanel : 2 * kPanel;
    const bool flat = ToFloat(scale) == 0.0f;
    const VF by = hn::Set(d, ToFloat(scale));
    const VF low = hn::Set(d, ToFloat(least));
    const auto middle = hn::Set(di, at.minimum ? 0 : 8);
    for (int64_t block = 0; block < count; block += 32, to += kBlockBytes) {
      uint8_t codes[32];
      for (int64_t i = 0; i < 32; i += kLanes) {
        const VF steps = hn::Div(hn::Sub(hn::LoadU(d, x + k0 + block + i), low), by);
        // Bounded before they are integers: a scale that is a denormal is far from exact.
        const VF within = hn::Min(hn::Max(steps, hn::Set(d, -16.0f)), hn::Set(d, 16.0f));
        auto code = hn::Add(hn::NearestInt(within), middle);
        if (flat) code = middle;
        code = hn::Min(hn::Max(code, hn::Zero(di)), hn::Set(di, 15));
        hn::StoreU(hn::DemoteTo(U8(), code), U8(), codes + i);
      }
      for (int64_t i = 0; i < 4; ++i) {
        uint32_t first, second;
        __builtin_memcpy(&first, codes + 4 * i, 4);
        __builtin_memcpy(&second, codes + 16 + 4 * i, 4);
        first |= second << 4;
        __builtin_memcpy(to + (kPanel * i + at.lane) * 4, &first, 4);
      }
    }
  }
  return true;
}

}  // namespace sluice::kernels::SLUICE_ISA

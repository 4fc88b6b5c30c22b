// What follows the dot products of low precision while their sums are hot: scales, bias, residual,
// activation, factor, and the store. For the files that are compiled once per target.
//
// Two vectors of columns pass over all rows of a strip, what they share in registers: a row costs
// few enough instructions that a core has the next products under way before the last row is done.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC's header hands its builtins registers that are undefined on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include "kernels/cpu/low_gemm.h"
#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// Round to nearest, ties to even; NaN stays NaN. Machines that round in one instruction make
// denormals zero, and so does every product that reads them.
HWY_INLINE auto RoundToBrain(VF x) {
  const hn::RebindToUnsigned<F32> du;
  const I32 di;
  const hn::Rebind<uint16_t, F32> half;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
  const auto nan = hn::RebindMask(du, hn::IsNaN(x));
  const auto top = hn::ShiftRight<16>(hn::IfThenElse(nan, quiet, rounded));
  return hn::DemoteTo(half, hn::BitCast(di, top));
}

// Two vectors side by side.
HWY_INLINE void StoreBrain(VF low, VF high, uint16_t* to) {
#ifdef __AVX512BF16__
  _mm512_storeu_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.raw, low.raw)));
#else
  const hn::Rebind<uint16_t, F32> half;
  hn::StoreU(RoundToBrain(low), half, to);
  hn::StoreU(RoundToBrain(high), half, to + hn::Lanes(F32()));
#endif
}

// Two vectors of columns of a strip, or with kMasked the first `count` of one: C row by row.
template <bool kIntegers, bool kBrain, bool kMasked>
struct ColumnsFinish {
  static constexpr int kVectors = kMasked ? 1 : 2;
  static constexpr int64_t kLaneCount = static_cast<int64_t>(sizeof(VF) / sizeof(float));

  VF bias[kVectors], scale[kVectors], column_sum[kVectors];
  int64_t count = 0;
  int64_t left = 0;  // rows
  const int32_t* sums = nullptr;
  int64_t sums_stride = 0;
  const float* row_scales = nullptr;
  const float* row_zeros = nullptr;
  const float* residual = nullptr;
  int64_t residual_stride = 0;
  const float* factor = nullptr;
  int64_t factor_stride = 0;
  float* to = nullptr;
  uint16_t* brain = nullptr;
  int64_t stride = 0;  // of either

  HWY_INLINE VF Load(const float* from) const {
    const F32 d;
    if constexpr (kMasked)
      return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
    return hn::LoadU(d, from);
  }

  // Columns `j` on of the sums.
  HWY_INLINE void Start(const LowGemmArgs& args, const LowSums& from, int64_t j,
                        int64_t column_count) {
    const F32 d;
    count = column_count;
    left = from.rows;
    sums = static_cast<const int32_t*>(from.data) + j;
    sums_stride = from.stride;
    const int64_t column = from.column + j;
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = column + v * kLaneCount;
      // Scales and sums are padded to whole panels. No scale is 1: the same bits.
      bias[v] = args.bias == nullptr ? hn::Zero(d) : Load(args.bias + at);
      scale[v] = args.b.scales == nullptr ? hn::Set(d, 1.0f) : hn::LoadU(d, args.b.scales + at);
      column_sum[v] = kIntegers ? hn::LoadU(d, args.b.sums + at) : hn::Zero(d);
    }
    if (kIntegers) {
      row_scales = args.rows.scales + from.row;
      row_zeros = args.rows.zeros + from.row;
    }
    residual_stride = args.residual_stride;
    residual =
        args.residual == nullptr ? nullptr : args.residual + from.row * residual_stride + column;
    factor_stride = args.factor_stride;
    factor = args.factor == nullptr ? nullptr : args.factor + from.row * factor_stride + column;
    if (kBrain) {
      stride = args.out.stride / 2;
      brain = reinterpret_cast<uint16_t*>(args.out.data) + from.row * stride + column;
    } else {
      stride = args.c_stride;
      to = args.c + from.row * stride + column;
    }
  }

  // Of vector v: what is to be activated.
  HWY_INLINE VF Value(int v) const {
    const F32 d;
    const int32_t* const from = sums + v * kLaneCount;
    if constexpr (!kIntegers)
      return hn::MulAdd(Load(reinterpret_cast<const float*>(from)), scale[v], bias[v]);
    VF x = hn::ConvertTo(d, hn::LoadU(I32(), from));
    x = hn::NegMulAdd(hn::Set(d, *row_zeros), column_sum[v], x);
    return hn::MulAdd(hn::Mul(x, hn::Set(d, *row_scales)), scale[v], bias[v]);
  }

  template <bool kFactor, class F>
  HWY_INLINE VF Result(int v, F activate) const {
    const VF x = Value(v);
    if constexpr (kFactor) {
      const VF added = residual == nullptr ? hn::Zero(F32()) : Load(residual + v * kLaneCount);
      return hn::MulAdd(activate(x), Load(factor + v * kLaneCount), added);
    }
    return activate(residual == nullptr ? x : hn::Add(x, Load(residual + v * kLaneCount)));
  }

  // The next row; with kFactor there is a factor.
  template <bool kFactor, class F>
  HWY_INLINE void Row(F activate) {
    const F32 d;
    const VF low = Result<kFactor>(0, activate);
    if constexpr (kMasked && kBrain) {
      const hn::Rebind<uint16_t, F32> half;
      hn::BlendedStore(RoundToBrain(low), hn::FirstN(half, static_cast<size_t>(count)), half,
                       brain);
    } else if constexpr (kMasked) {
      hn::BlendedStore(low, hn::FirstN(d, static_cast<size_t>(count)), d, to);
    } else {
      const VF high = Result<kFactor>(1, activate);
      if constexpr (kBrain) {
        StoreBrain(low, high, brain);
      } else {
        hn::StoreU(low, d, to);
        hn::StoreU(high, d, to + kLaneCount);
      }
    }
    sums += sums_stride;
    row_scales += kIntegers ? 1 : 0;
    row_zeros += kIntegers ? 1 : 0;
    if (residual != nullptr) residual += residual_stride;
    if constexpr (kFactor) factor += factor_stride;
    if constexpr (kBrain) {
      brain += stride;
    } else {
      to += stride;
    }
    --left;
  }

  template <class F>
  HWY_INLINE void All(F activate) {
    if (factor != nullptr) {
      while (left > 0) Row<true>(activate);
    } else {
      while (left > 0) Row<false>(activate);
    }
  }
};

template <bool kIntegers, bool kBrain, class F>
void FinishStrip(const LowGemmArgs& args, const LowSums& sums, F activate) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(F32()));
  int64_t j = 0;
  for (; j + 2 * lanes <= sums.columns; j += 2 * lanes) {
    ColumnsFinish<kIntegers, kBrain, false> finish;
    finish.Start(args, sums, j, lanes);
    finish.All(activate);
  }
  for (; j < sums.columns; j += lanes) {
    const int64_t left = sums.columns - j;
    ColumnsFinish<kIntegers, kBrain, true> finish;
    finish.Start(args, sums, j, left < lanes ? left : lanes);
    finish.All(activate);
  }
  if (!kBrain || sums.column + sums.columns != args.b.n) return;
  // What pads a row is zero: the last panel writes it.
  for (int64_t i = 0; i < sums.rows; ++i) {
    auto* const row = reinterpret_cast<uint16_t*>(args.out.data + (sums.row + i) * args.out.stride);
    for (int64_t pad = args.b.n; pad < (args.b.n + 31) / 32 * 32; ++pad) row[pad] = 0;
  }
}

template <bool kChosen>
struct LowChoice {
  static constexpr bool value = kChosen;
};
// run(integers, brain, activate), the first two a LowChoice.
template <class Run>
HWY_INLINE void WithFinish(const LowGemmArgs& args, Run run) {
  const bool brain = args.out.data != nullptr;
  const auto choose = [&](auto activate) HWY_ATTR {
    if (args.b.form == WeightForm::kInt8) {
      brain ? run(LowChoice<true>{}, LowChoice<true>{}, activate)
            : run(LowChoice<true>{}, LowChoice<false>{}, activate);
    } else {
      brain ? run(LowChoice<false>{}, LowChoice<true>{}, activate)
            : run(LowChoice<false>{}, LowChoice<false>{}, activate);
    }
  };
  if (args.activation == Activation::kGeluErf && (brain || args.coarse_gelu))
    return choose([](VF x) HWY_ATTR { return GeluCoarse(x); });
  WithActivation(args.activation, choose);
}

HWY_INLINE void FinishSums(const LowGemmArgs& args, const LowSums& sums) {
  WithFinish(args, [&](auto integers, auto brain, auto activate) HWY_ATTR {
    FinishStrip<integers.value, brain.value>(args, sums, activate);
  });
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

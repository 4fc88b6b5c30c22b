// Before and behind the dot products of low precision: activations into their rows, sums into C.
// Compiled once per target.
#include "kernels/cpu/low_gemm.h"
#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr int64_t kLanes = static_cast<int64_t>(sizeof(VF) / sizeof(float));
using U8 = hn::Rebind<uint8_t, F32>;
using I16 = hn::Rebind<int16_t, F32>;
using U16 = hn::Rebind<uint16_t, F32>;
using U32 = hn::RebindToUnsigned<F32>;

// ---- Activations ----

struct RowRange {
  float low, high;
  bool finite;
};

// The smallest and largest of the row and 0.
RowRange FindRange(const float* x, int64_t k) {
  const F32 d;
  const VF zero = hn::Zero(d);
  VF low0 = zero, low1 = zero, high0 = zero, high1 = zero;
  VF odd0 = zero, odd1 = zero;  // stays 0 unless some x is inf or NaN
  const auto take = [&](VF v, VF& low, VF& high, VF& odd) HWY_ATTR {
    low = hn::Min(v, low);
    high = hn::Max(v, high);
    odd = hn::MulAdd(v, zero, odd);
  };
  int64_t i = 0;
  for (; i + 2 * kLanes <= k; i += 2 * kLanes) {
    take(hn::LoadU(d, x + i), low0, high0, odd0);
    take(hn::LoadU(d, x + i + kLanes), low1, high1, odd1);
  }
  for (; i < k; i += kLanes) {
    const int64_t left = k - i < kLanes ? k - i : kLanes;
    take(hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(left)), d, x + i), low0, high0, odd0);
  }
  RowRange range;
  range.low = hn::GetLane(hn::MinOfLanes(d, hn::Min(low0, low1)));
  range.high = hn::GetLane(hn::MaxOfLanes(d, hn::Max(high0, high1)));
  range.finite = hn::GetLane(hn::SumOfLanes(d, hn::Add(odd0, odd1))) == 0.0f &&
                 range.high - range.low <= 3.0e38f;
  return range;
}

constexpr float kShifter = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low bits

// store(i, code(x)) for every vector of the row; behind its end the codes mean nothing.
template <class Code, class Store>
HWY_INLINE void Encode(const float* x, int64_t k, Code code, Store store) {
  const F32 d;
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) store(i, code(hn::LoadU(d, x + i)));
  if (i == k) return;
  store(i, code(hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(k - i)), d, x + i)));
}

// Codes of 8 bits where the path wants them.
template <class Code>
HWY_INLINE void EncodeRow(const PrepareRowsArgs& args, int64_t row, Code code) {
  const float* const x = args.a + row * args.a_stride;
  std::byte* const to = args.rows.data + row * args.rows.stride;
  if (args.path == LowPath::kWords) {
    auto* const words = reinterpret_cast<int16_t*>(to);
    Encode(x, args.k, code, [&](int64_t i, hn::Vec<I32> codes) HWY_ATTR {
      hn::StoreU(hn::DemoteTo(I16(), codes), I16(), words + i);
    });
  } else {
    auto* const bytes = reinterpret_cast<uint8_t*>(to);
    Encode(x, args.k, code, [&](int64_t i, hn::Vec<I32> codes) HWY_ATTR {
      hn::StoreU(hn::DemoteTo(U8(), codes), U8(), bytes + i);
    });
  }
}

void PrepareInt8(const PrepareRowsArgs& args, int64_t row) {
  const F32 d;
  const I32 di;
  const RowRange range = FindRange(args.a + row * args.a_stride, args.k);
  const float span = range.high - range.low;
  const bool flat = !(span > 1e-30f);
  const float factor = flat || !range.finite ? 0.0f : 255.0f / span;
  const float zero = range.finite ? (kShifter - range.low * factor) - kShifter : 0.0f;
  args.rows.scales[row] = !range.finite ? __builtin_nanf("") : flat ? 0.0f : span / 255.0f;
  args.rows.zeros[row] = zero;
  const VF scale = hn::Set(d, factor);
  const VF base = hn::Set(d, kShifter + zero);
  const VF least = hn::Set(d, kShifter);
  const VF most = hn::Set(d, kShifter + 255.0f);
  EncodeRow(args, row, [&](VF v) HWY_ATTR {
    const VF shifted = hn::Min(hn::Max(hn::MulAdd(v, scale, base), least), most);
    return hn::And(hn::BitCast(di, shifted), hn::Set(di, 255));
  });
}

void PrepareFixed(const PrepareRowsArgs& args, int64_t row) {
  const F32 d;
  const I32 di;
  const bool finite = FindRange(args.a + row * args.a_stride, args.k).finite;
  args.rows.scales[row] = finite ? args.fixed_scale : __builtin_nanf("");
  args.rows.zeros[row] = args.fixed_zero;
  const VF scale = hn::Set(d, args.fixed_scale);
  const VF shifter = hn::Set(d, kShifter);
  const VF zero = hn::Set(d, args.fixed_zero);
  const VF bound = hn::Set(d, 1024.0f);
  EncodeRow(args, row, [&](VF v) HWY_ATTR {
    // Rounded before the zero point is added: halves go to the even quotient.
    const VF quotient = hn::Min(hn::Max(hn::Div(v, scale), hn::Neg(bound)), bound);
    const VF shifted = hn::Add(hn::Add(quotient, shifter), zero);
    const VF within = hn::Min(hn::Max(shifted, shifter), hn::Set(d, kShifter + 255.0f));
    return hn::And(hn::BitCast(di, within), hn::Set(di, 255));
  });
}

// Round to nearest, ties to even; NaN stays NaN.
HWY_INLINE hn::Vec<U16> RoundToBrain(VF x) {
  const U32 du;
  const I32 di;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
  const auto nan = hn::RebindMask(du, hn::IsNaN(x));
  const auto top = hn::ShiftRight<16>(hn::IfThenElse(nan, quiet, rounded));
  return hn::DemoteTo(U16(), hn::BitCast(di, top));
}

void PrepareBF16(const PrepareRowsArgs& args, int64_t row) {
  const F32 d;
  const float* const x = args.a + row * args.a_stride;
  auto* const to = reinterpret_cast<uint16_t*>(args.rows.data + row * args.rows.stride);
  int64_t i = 0;
  for (; i + kLanes <= args.k; i += kLanes)
    hn::StoreU(RoundToBrain(hn::LoadU(d, x + i)), U16(), to + i);
  const int64_t end = (args.k + 31) / 32 * 32;
  for (; i < end; i += kLanes) {
    const int64_t left = args.k - i < 0 ? 0 : args.k - i;
    // A load that is masked out entirely still wants an address inside the row.
    const VF v = left == 0 ? hn::Zero(d)
                           : hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(left)), d, x + i);
    hn::StoreU(RoundToBrain(v), U16(), to + i);
  }
}

// ---- Sums ----

// What the columns of a panel share.
struct Columns {
  const float* scales;  // null: sums are values already
  const float* sums;    // null: no zero points
  const float* bias;    // or null
};

// With `kBrain` into args.out, rounded to bf16, else into C.
template <bool kIntegers, bool kBrain, class F>
HWY_INLINE void FinishRows(const LowGemmArgs& args, const LowSums& sums, const Columns& columns,
                           F activate) {
  const F32 d;
  const I32 di;
  const VF none = hn::Zero(d);
  for (int64_t i = 0; i < sums.rows; ++i) {
    const int64_t row = sums.row + i;
    float* const to = kBrain ? nullptr : args.c + row * args.c_stride + sums.column;
    uint16_t* const brain =
        kBrain ? reinterpret_cast<uint16_t*>(args.out.data + row * args.out.stride) + sums.column
               : nullptr;
    const float* const residual = args.residual == nullptr
                                      ? nullptr
                                      : args.residual + row * args.residual_stride + sums.column;
    const VF row_scale = hn::Set(d, kIntegers ? args.rows.scales[row] : 1.0f);
    const VF row_zero = hn::Set(d, kIntegers ? args.rows.zeros[row] : 0.0f);
    const auto one = [&](int64_t j, auto load) HWY_ATTR {
      VF x;
      const VF bias = columns.bias == nullptr ? none : load(columns.bias + j);
      if constexpr (kIntegers) {
        const auto* const from = static_cast<const int32_t*>(sums.data) + i * sums.stride;
        x = hn::ConvertTo(d, hn::LoadU(di, from + j));
        // Scales and sums are padded to whole panels.
        x = hn::NegMulAdd(row_zero, hn::LoadU(d, columns.sums + j), x);
        x = hn::MulAdd(hn::Mul(x, row_scale), hn::LoadU(d, columns.scales + j), bias);
      } else {
        x = load(static_cast<const float*>(sums.data) + i * sums.stride + j);
        x = columns.scales == nullptr ? hn::Add(x, bias)
                                      : hn::MulAdd(x, hn::LoadU(d, columns.scales + j), bias);
      }
      if (residual != nullptr) x = hn::Add(x, load(residual + j));
      return activate(x);
    };
    int64_t j = 0;
    for (; j + kLanes <= sums.columns; j += kLanes) {
      const VF x = one(j, [d](const float* from) HWY_ATTR { return hn::LoadU(d, from); });
      if constexpr (kBrain) {
        hn::StoreU(RoundToBrain(x), U16(), brain + j);
      } else {
        hn::StoreU(x, d, to + j);
      }
    }
    if constexpr (kBrain) {
      // What pads a row is zero: the last panel writes it.
      if (sums.column + sums.columns == args.b.n) {
        const int64_t end = (args.b.n + 31) / 32 * 32 - sums.column;
        for (int64_t pad = sums.columns; pad < end; ++pad) brain[pad] = 0;
      }
    }
    if (j == sums.columns) continue;
    const auto rest = hn::FirstN(d, static_cast<size_t>(sums.columns - j));
    const VF x =
        one(j, [d, rest](const float* from) HWY_ATTR { return hn::MaskedLoad(rest, d, from); });
    if constexpr (kBrain) {
      const hn::Rebind<uint16_t, F32> half;
      hn::BlendedStore(RoundToBrain(x), hn::FirstN(half, static_cast<size_t>(sums.columns - j)),
                       half, brain + j);
    } else {
      hn::BlendedStore(x, rest, d, to + j);
    }
  }
}

}  // namespace

void FinishLow(const LowGemmArgs& args, const LowSums& sums) {
  Columns columns = {};
  if (args.b.scales != nullptr) columns.scales = args.b.scales + sums.column;
  if (args.b.sums != nullptr) columns.sums = args.b.sums + sums.column;
  if (args.bias != nullptr) columns.bias = args.bias + sums.column;
  WithActivation(args.activation, [&](auto activate) HWY_ATTR {
    const bool brain = args.out.data != nullptr;
    if (args.b.form == WeightForm::kInt8) {
      brain ? FinishRows<true, true>(args, sums, columns, activate)
            : FinishRows<true, false>(args, sums, columns, activate);
    } else {
      brain ? FinishRows<false, true>(args, sums, columns, activate)
            : FinishRows<false, false>(args, sums, columns, activate);
    }
  });
}

void RunPrepareRows(const PrepareRowsArgs& args, int64_t begin, int64_t end) {
  const bool brain = TakesBrainRows(args.path);
  for (int64_t row = begin; row < end; ++row) {
    if (brain) {
      PrepareBF16(args, row);
    } else if (args.fixed_scale > 0) {
      PrepareFixed(args, row);
    } else {
      PrepareInt8(args, row);
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

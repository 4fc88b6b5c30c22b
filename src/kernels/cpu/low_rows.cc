// Before and behind the dot products of low precision: activations into their rows, sums into C.
// Compiled once per target.
#include "kernels/cpu/low_finish.h"
#include "kernels/cpu/range.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr int64_t kLanes = static_cast<int64_t>(sizeof(VF) / sizeof(float));
using U8 = hn::Rebind<uint8_t, F32>;
using I16 = hn::Rebind<int16_t, F32>;
using U16 = hn::Rebind<uint16_t, F32>;

// Of a row and 0. What f32 cannot hold the span of counts as not finite.
Range RowRange(const float* x, int64_t k) {
  Range range = FindRange<true>(x, k);
  range.finite = range.finite && range.high - range.low <= 3.0e38f;
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
  const Range range = RowRange(args.a + row * args.a_stride, args.k);
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
  const bool finite = RowRange(args.a + row * args.a_stride, args.k).finite;
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

}  // namespace

void FinishLow(const LowGemmArgs& args, const LowSums& sums) {
  FinishSums(args, sums);
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

// Passes over logits, compiled once per target.
#include "kernels/cpu/logit_rows.h"

#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

// e^((x - shift) * scale), 0 for NaN.
HWY_INLINE VF Term(VF x, VF shift, VF scale) {
  const VF y = hn::Mul(hn::Sub(x, shift), scale);
  return hn::IfThenZeroElse(hn::IsNaN(y), ExpNegative(y));
}

}  // namespace

LogitMaximum RunFindMaximum(const float* x, int64_t n) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF low = hn::Set(d, -__builtin_inff());
  // Four chains hide the latency; x86's max returns its second operand where one is NaN.
  VF highest[4] = {low, low, low, low};
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    for (int c = 0; c < 4; ++c) {
      highest[c] = hn::Max(hn::LoadU(d, x + i + c * lanes), highest[c]);
    }
  }
  for (; i < n; i += lanes) {
    const auto in = hn::FirstN(d, static_cast<size_t>(n - i < lanes ? n - i : lanes));
    const VF v = hn::IfThenElse(in, hn::MaskedLoad(in, d, x + i), low);
    highest[0] = hn::Max(v, highest[0]);
  }
  const VF pair = hn::Max(hn::Max(highest[0], highest[1]), hn::Max(highest[2], highest[3]));
  const VF all = hn::MaxOfLanes(d, pair);
  for (i = 0; i < n; i += lanes) {
    const auto in = hn::FirstN(d, static_cast<size_t>(n - i < lanes ? n - i : lanes));
    const auto equal = hn::And(in, hn::Eq(hn::MaskedLoad(in, d, x + i), all));
    const intptr_t first = hn::FindFirstTrue(d, equal);
    if (first >= 0) return {hn::GetLane(all), i + static_cast<int64_t>(first)};
  }
  return {__builtin_nanf(""), 0};
}

void RunSumExps(const float* x, int64_t n, float shift, float scale, float* sums) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF by = hn::Set(d, shift), times = hn::Set(d, scale);
  for (int64_t begin = 0; begin < n; begin += kLogitBlock) {
    const int64_t end = n - begin < kLogitBlock ? n : begin + kLogitBlock;
    VF chains[2] = {hn::Zero(d), hn::Zero(d)};
    int64_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      chains[0] = hn::Add(chains[0], Term(hn::LoadU(d, x + i), by, times));
      chains[1] = hn::Add(chains[1], Term(hn::LoadU(d, x + i + lanes), by, times));
    }
    for (; i < end; i += lanes) {
      const auto in = hn::FirstN(d, static_cast<size_t>(end - i < lanes ? end - i : lanes));
      const VF term = Term(hn::MaskedLoad(in, d, x + i), by, times);
      chains[0] = hn::Add(chains[0], hn::IfThenElseZero(in, term));
    }
    sums[begin / kLogitBlock] = hn::GetLane(hn::SumOfLanes(d, hn::Add(chains[0], chains[1])));
  }
}

void RunExps(const float* x, int64_t n, float shift, float scale, float* y) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF by = hn::Set(d, shift), times = hn::Set(d, scale);
  for (int64_t i = 0; i < n; i += lanes) {
    const auto in = hn::FirstN(d, static_cast<size_t>(n - i < lanes ? n - i : lanes));
    hn::BlendedStore(Term(hn::MaskedLoad(in, d, x + i), by, times), in, d, y + i);
  }
}

void RunCap(float* x, int64_t n, float cap) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF times = hn::Set(d, cap), by = hn::Set(d, 1.0f / cap);
  for (int64_t i = 0; i < n; i += lanes) {
    const auto in = hn::FirstN(d, static_cast<size_t>(n - i < lanes ? n - i : lanes));
    const VF v = hn::MaskedLoad(in, d, x + i);
    hn::BlendedStore(hn::Mul(times, Tanh(hn::Mul(v, by))), in, d, x + i);
  }
}

int64_t RunCollect(const float* x, int64_t n, float threshold, int32_t* indices, int64_t capacity) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF bound = hn::Set(d, threshold);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += lanes) {
    const auto in = hn::FirstN(d, static_cast<size_t>(n - i < lanes ? n - i : lanes));
    const auto above = hn::And(in, hn::Ge(hn::MaskedLoad(in, d, x + i), bound));
    if (hn::AllFalse(d, above)) continue;
    uint8_t bytes[8] = {};
    hn::StoreMaskBits(d, above, bytes);
    uint64_t bits = 0;
    __builtin_memcpy(&bits, bytes, sizeof(bits));
    for (; bits != 0; bits &= bits - 1, ++count) {
      if (count < capacity) indices[count] = static_cast<int32_t>(i + __builtin_ctzll(bits));
    }
  }
  return count;
}

}  // namespace sluice::kernels::SLUICE_ISA

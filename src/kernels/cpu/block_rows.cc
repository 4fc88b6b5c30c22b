// Activations into blocks of 8 bits. Compiled once per target; the same bits on each.
#include "kernels/cpu/block_gemm.h"
#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr int64_t kBlock = 32;
// A block whose largest magnitude is below this is zeros: its factor would overflow.
constexpr float kPeakMin = 1e-35f;

constexpr float kShifter = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low bits

void PrepareBlock(const float* x, const BlockRows& to) {
  const hn::FixedTag<float, 8> d;
  const hn::FixedTag<int32_t, 8> di;
  const hn::FixedTag<int8_t, 8> d8;
  using V = hn::Vec<decltype(d)>;
  V peak = hn::Zero(d), odd = hn::Zero(d);  // odd stays 0 unless some x is inf or NaN
  for (int64_t i = 0; i < kBlock; i += 8) {
    const V v = hn::LoadU(d, x + i);
    peak = hn::Max(hn::Abs(v), peak);
    odd = hn::MulAdd(v, hn::Zero(d), odd);
  }
  const float most = hn::GetLane(hn::MaxOfLanes(d, peak));
  const bool finite = hn::GetLane(hn::SumOfLanes(d, odd)) == 0.0f;
  const bool flat = !(most > kPeakMin);
  *to.scales = !finite ? __builtin_nanf("") : flat ? 0.0f : most / 127.0f;
  const V factor = hn::Set(d, !finite || flat ? 0.0f : 127.0f / most);
  const V shifter = hn::Set(d, kShifter);
  for (int half = 0; half < 2; ++half) {
    auto sum = hn::Zero(di);
    for (int64_t i = 16 * half; i < 16 * half + 16; i += 8) {
      const V v = finite ? hn::LoadU(d, x + i) : hn::Zero(d);
      const V shifted = hn::MulAdd(v, factor, shifter);
      const auto code = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, shifter));
      sum = hn::Add(sum, code);
      hn::StoreU(hn::DemoteTo(d8, code), d8, to.codes + i);
    }
    to.half_sums[half] = hn::GetLane(hn::SumOfLanes(di, sum));
  }
  *to.sums = to.half_sums[0] + to.half_sums[1];
  *to.code_sums = *to.scales * static_cast<float>(*to.sums);
}

}  // namespace

void RunPrepareBlockRows(const PrepareBlockRowsArgs& args, int64_t begin, int64_t end) {
  const int64_t blocks = args.k / kBlock;
  for (int64_t row = begin; row < end; ++row) {
    const float* const x = args.a + row * args.a_stride;
    BlockRows to = args.rows;
    to.codes += row * to.code_stride;
    to.scales += row * blocks;
    to.sums += row * blocks;
    to.half_sums += row * 2 * blocks;
    to.code_sums += row * blocks;
    for (int64_t b = 0; b < blocks; ++b) {
      PrepareBlock(x + b * kBlock, to);
      to.codes += kBlock;
      ++to.scales;
      ++to.sums;
      to.half_sums += 2;
      ++to.code_sums;
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

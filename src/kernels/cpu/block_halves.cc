// Products with weights of f16 and bf16 as they lie in a file: each output is one chain of
// multiply-adds over sixteen lanes of k, whatever the target and the rows beside it. Compiled once
// per target.
#include "kernels/cpu/block_gemm.h"
#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr int64_t kLanes = static_cast<int64_t>(sizeof(VF) / sizeof(float));
constexpr int kSpan = 16;  // lanes of a chain
constexpr int kParts = static_cast<int>(kSpan / kLanes);
// Rows and outputs of a step: their chains fill the registers.
constexpr int kRowsMax = kParts == 1 ? 4 : 2;
constexpr int kOutputsMax = kParts == 1 ? 6 : 3;

struct HalfWeights {
  template <class From>
  static VF Load(const From* from) {
    return WidenHalf(from);
  }
  static float One(uint16_t bits) { return WidenF16(bits); }
};
struct BrainWeights {
  template <class From>
  static VF Load(const From* from) {
    return WidenBrain(from);
  }
  static float One(uint16_t bits) { return WidenBF16(bits); }
};

// Lanes i and i + 8, then + 4, then four of them.
HWY_INLINE float SumChain(const VF* parts) {
  const hn::FixedTag<float, 8> d8;
  const hn::FixedTag<float, 4> d4;
  hn::Vec<decltype(d8)> eight;
  if constexpr (kParts == 1) {
    alignas(64) float all[kSpan];
    hn::Store(parts[0], F32(), all);
    eight = hn::Add(hn::Load(d8, all), hn::Load(d8, all + 8));
  } else {
    alignas(64) float all[kSpan];
    for (int p = 0; p < kParts; ++p) hn::Store(parts[p], F32(), all + p * kLanes);
    eight = hn::Add(hn::Load(d8, all), hn::Load(d8, all + 8));
  }
  const auto four = hn::Add(hn::LowerHalf(d4, eight), hn::UpperHalf(d4, eight));
  return hn::GetLane(hn::SumOfLanes(d4, four));
}

struct ChainArgs {
  const float* a;  // rows a_stride apart
  int64_t a_stride;
  const std::byte* w;  // rows w_stride bytes apart
  int64_t w_stride;
  int64_t k;
  float* sums;  // [rows, outputs]
};

template <class Weights, int kRows, int kOutputs>
HWY_NOINLINE void Chains(const ChainArgs& args) {
  const F32 d;
  VF sum[kRows][kOutputs][kParts];
  for (int r = 0; r < kRows; ++r)
    for (int n = 0; n < kOutputs; ++n)
      for (int p = 0; p < kParts; ++p) sum[r][n][p] = hn::Zero(d);
  const uint16_t* w[kOutputs];
  for (int n = 0; n < kOutputs; ++n)
    w[n] = reinterpret_cast<const uint16_t*>(args.w + n * args.w_stride);
  int64_t k = 0;
  for (; k + kSpan <= args.k; k += kSpan) {
#pragma GCC unroll 2
    for (int p = 0; p < kParts; ++p) {
      VF x[kOutputs];
#pragma GCC unroll 6
      for (int n = 0; n < kOutputs; ++n) x[n] = Weights::Load(w[n] + k + p * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const VF a = hn::LoadU(d, args.a + r * args.a_stride + k + p * kLanes);
#pragma GCC unroll 6
        for (int n = 0; n < kOutputs; ++n) sum[r][n][p] = hn::MulAdd(x[n], a, sum[r][n][p]);
      }
    }
    if (kRows == 1) {
      for (int n = 0; n < kOutputs; ++n)
        _mm_prefetch(reinterpret_cast<const char*>(w[n] + k + 512), _MM_HINT_T0);
    }
  }
  if (k < args.k) {
    // What is left of k stands in zeros.
    alignas(64) float rest_w[kOutputs][kSpan] = {};
    alignas(64) float rest_a[kSpan] = {};
    for (int n = 0; n < kOutputs; ++n)
      for (int64_t i = k; i < args.k; ++i) rest_w[n][i - k] = Weights::One(w[n][i]);
    for (int r = 0; r < kRows; ++r) {
      for (int64_t i = k; i < args.k; ++i) rest_a[i - k] = args.a[r * args.a_stride + i];
      for (int n = 0; n < kOutputs; ++n)
        for (int p = 0; p < kParts; ++p)
          sum[r][n][p] = hn::MulAdd(hn::Load(d, rest_w[n] + p * kLanes),
                                    hn::Load(d, rest_a + p * kLanes), sum[r][n][p]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int n = 0; n < kOutputs; ++n) args.sums[r * kOutputs + n] = SumChain(sum[r][n]);
}

template <class Weights>
void RunHalves(const BlockGemmArgs& args, const BlockRegion& region) {
  float sums[kRowsMax * kOutputsMax];
  ChainArgs chain;
  chain.a_stride = args.a_stride;
  chain.w_stride = args.w.row_bytes;
  chain.k = args.w.k;
  chain.sums = sums;
  for (int64_t n = region.column_begin; n < region.column_end;) {
    const int64_t outputs = region.column_end - n >= kOutputsMax ? kOutputsMax : 1;
    chain.w = args.w.data + n * args.w.row_bytes;
    for (int64_t row = region.row_begin; row < region.row_end;) {
      const int64_t rows = region.row_end - row >= kRowsMax ? kRowsMax : 1;
      chain.a = args.a + row * args.a_stride;
      if (outputs == 1) {
        rows == 1 ? Chains<Weights, 1, 1>(chain) : Chains<Weights, kRowsMax, 1>(chain);
      } else {
        rows == 1 ? Chains<Weights, 1, kOutputsMax>(chain)
                  : Chains<Weights, kRowsMax, kOutputsMax>(chain);
      }
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < outputs; ++j) {
          float x = sums[r * outputs + j];
          if (args.bias != nullptr) x += args.bias[n + j];
          if (args.residual != nullptr)
            x += args.residual[(row + r) * args.residual_stride + n + j];
          args.c[(row + r) * args.c_stride + n + j] = x;
        }
      }
      row += rows;
    }
    n += outputs;
  }
}

}  // namespace

void RunBlockHalves(const BlockGemmArgs& args, const BlockRegion& region) {
  args.w.format == tensor::BlockFormat::kF16 ? RunHalves<HalfWeights>(args, region)
                                             : RunHalves<BrainWeights>(args, region);
}

}  // namespace sluice::kernels::SLUICE_ISA

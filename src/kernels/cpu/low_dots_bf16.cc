// Products of bf16 weights by vdpbf16ps. Compiled for AVX-512 with BF16.
#include "kernels/cpu/low_micro.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

struct BrainDot {
  using Vec = __m512;
  static constexpr int64_t kRows = kDotsRows;
  static constexpr int kStreamRows = 0;
  static Vec Zero() { return _mm512_setzero_ps(); }
  static Vec Load(const std::byte* from) { return _mm512_load_ps(from); }
  static Vec Broadcast(const std::byte* from) {
    float group;
    __builtin_memcpy(&group, from, 4);
    return _mm512_set1_ps(group);
  }
  static Vec Add(Vec sum, Vec a, Vec b) {
    __m512bh x, y;
    __builtin_memcpy(&x, &a, sizeof(x));
    __builtin_memcpy(&y, &b, sizeof(y));
    return _mm512_dpbf16_ps(sum, x, y);
  }
  static void Store(int32_t* to, Vec x) { _mm512_store_ps(to, x); }
};

}  // namespace

void RunLowDots(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  RunLow<BrainDot>(args, plan, region, avx512::FinishLow);
}

}  // namespace sluice::kernels::SLUICE_ISA

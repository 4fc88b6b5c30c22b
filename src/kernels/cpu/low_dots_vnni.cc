// Products of int8 weights by vpdpbusd. Compiled for AVX-512 with VNNI.
#include "kernels/cpu/low_micro.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

struct VnniDot {
  using Vec = __m512i;
  static constexpr int64_t kRows = kDotsRows;
  static constexpr int kStreamRows = 3;
  static Vec Zero() { return _mm512_setzero_si512(); }
  static Vec Load(const std::byte* from) { return _mm512_load_si512(from); }
  static Vec Broadcast(const std::byte* from) {
    int32_t group;
    __builtin_memcpy(&group, from, 4);
    return _mm512_set1_epi32(group);
  }
  static Vec Add(Vec sum, Vec a, Vec b) { return _mm512_dpbusd_epi32(sum, a, b); }
  static Vec Sum(Vec a, Vec b) { return _mm512_add_epi32(a, b); }
  static void Store(int32_t* to, Vec x) { _mm512_store_si512(to, x); }
};

}  // namespace

void RunLowVnni(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  RunLow<VnniDot>(args, plan, region, avx512::FinishLow);
}

}  // namespace sluice::kernels::SLUICE_ISA

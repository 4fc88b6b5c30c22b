// Products of int8 weights with AVX2 alone: exact on words of 16 bits, or on bytes where the
// packing has proven that their pairs cannot saturate. Compiled for AVX2.
#include "kernels/cpu/low_micro.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

struct IntegerLanes {
  using Vec = __m256i;
  static constexpr int kStreamRows = 2;
  static Vec Zero() { return _mm256_setzero_si256(); }
  static Vec Load(const std::byte* from) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
  }
  static Vec Broadcast(const std::byte* from) {
    int32_t group;
    __builtin_memcpy(&group, from, 4);
    return _mm256_set1_epi32(group);
  }
  static Vec Sum(Vec a, Vec b) { return _mm256_add_epi32(a, b); }
  static void Store(int32_t* to, Vec x) { _mm256_store_si256(reinterpret_cast<__m256i*>(to), x); }
};

struct WordDot : IntegerLanes {
  static constexpr int64_t kRows = kWordsRows;
  static Vec Add(Vec sum, Vec a, Vec b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
};

struct ByteDot : IntegerLanes {
  static constexpr int64_t kRows = kBytesRows;
  static Vec Add(Vec sum, Vec a, Vec b) {
    const Vec pairs = _mm256_maddubs_epi16(a, b);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

}  // namespace

void RunLowWords(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  RunLow<WordDot>(args, plan, region, FinishLow);
}
void RunLowBytes(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  RunLow<ByteDot>(args, plan, region, FinishLow);
}

}  // namespace sluice::kernels::SLUICE_ISA

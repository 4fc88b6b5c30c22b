#include "kernels/roof.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/processor_time.h"
#include "kernels/target.h"

namespace sluice::kernels {
namespace {

// Twelve independent chains cover latency 4 x 2 units with a margin. Assembly with named registers:
// a compiler that spilled one of them would show half the roof. Operands differ from instruction to
// instruction and are no zeros, as in real products: the clock follows the power that a core draws.
#define CHAIN(r, i, a, b) "vfmadd231ps %%" r #a ", %%" r #b ", %%" r #i "\n\t"
#define CHAINS(r)                                                                     \
  CHAIN(r, 0, 12, 13)                                                                 \
  CHAIN(r, 1, 14, 15) CHAIN(r, 2, 13, 14) CHAIN(r, 3, 15, 12) CHAIN(r, 4, 14, 12)     \
      CHAIN(r, 5, 13, 15) CHAIN(r, 6, 12, 12) CHAIN(r, 7, 15, 14) CHAIN(r, 8, 13, 12) \
          CHAIN(r, 9, 14, 13) CHAIN(r, 10, 12, 15) CHAIN(r, 11, 15, 13)
#define LOAD(r, i, at) "vmovups " #at "(%1), %%" r #i "\n\t"
#define CLEAR(i) "vpxor %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n\t"
#define LOOP_OF(r)                                                                               \
  asm volatile(CLEAR(0) CLEAR(1) CLEAR(2) CLEAR(3) CLEAR(4) CLEAR(5) CLEAR(6) CLEAR(7) CLEAR(8)  \
                   CLEAR(9) CLEAR(10) CLEAR(11) LOAD(r, 12, 0) LOAD(r, 13, 64) LOAD(r, 14, 128)  \
                       LOAD(r, 15, 192) "1:\n\t" CHAINS(r)                                       \
                           CHAINS(r) "dec %0\n\tjnz 1b\n\tvzeroupper\n\t"                        \
               : "+r"(rounds)                                                                    \
               : "r"(operands)                                                                   \
               : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                 "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory")

}  // namespace

double MultiplyAddRoof() {
  constexpr int64_t kRounds = 150'000;
  const bool wide = ActiveTarget() == Target::kAvx512;
  int64_t rounds = kRounds;
  // In [1, 2), with bits that differ everywhere: a linear congruential generator.
  float operands[64];
  uint32_t bits = 1;
  for (float& x : operands) {
    bits = bits * 1664525 + 1013904223;
    x = std::bit_cast<float>(0x3f800000u | bits >> 9);
  }
  const double start = base::ProcessorSeconds();
  if (wide)
    LOOP_OF("zmm");
  else
    LOOP_OF("ymm");
  return static_cast<double>(kRounds) * 24 * (wide ? 32 : 16) / (base::ProcessorSeconds() - start) /
         1e9;
}

// What a pass reads at a time.
constexpr int64_t kReadStep = 256;

void ReadMemory(const std::byte* from, int64_t bytes) {
  int64_t left = bytes / kReadStep;
  if (left == 0) return;
  // Lines are asked for twice, as kernels/cpu/stream.h does: L1 alone cannot wait for enough of
  // them.
  asm volatile(
      "1:\n\t"
      "prefetcht1 4096(%0)\n\tprefetcht1 4160(%0)\n\tprefetcht1 4224(%0)\n\t"
      "prefetcht1 4288(%0)\n\t"
      "prefetcht0 1024(%0)\n\tprefetcht0 1088(%0)\n\tprefetcht0 1152(%0)\n\t"
      "prefetcht0 1216(%0)\n\t"
      "vmovups (%0), %%ymm0\n\tvmovups 32(%0), %%ymm1\n\t"
      "vmovups 64(%0), %%ymm2\n\tvmovups 96(%0), %%ymm3\n\t"
      "vmovups 128(%0), %%ymm4\n\tvmovups 160(%0), %%ymm5\n\t"
      "vmovups 192(%0), %%ymm6\n\tvmovups 224(%0), %%ymm7\n\t"
      "add $256, %0\n\tdec %1\n\tjnz 1b\n\tvzeroupper\n\t"
      : "+r"(from), "+r"(left)
      :
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "cc", "memory");
}

double ReadRoof(int64_t bytes) {
  static std::byte* memory = nullptr;
  static int64_t mapped = 0;
  if (mapped < bytes) {
    constexpr int64_t kPage = 2 << 20;
    mapped = (bytes + kPage - 1) / kPage * kPage;
    memory =
        static_cast<std::byte*>(mmap(nullptr, static_cast<size_t>(mapped), PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(memory != MAP_FAILED);
    madvise(memory, static_cast<size_t>(mapped), MADV_HUGEPAGE);
    std::fill(memory, memory + mapped, std::byte{1});
  }
  const int64_t passes = std::max<int64_t>(1, (int64_t{32} << 20) / bytes);
  ReadMemory(memory, bytes);
  const double start = base::ProcessorSeconds();
  for (int64_t i = 0; i < passes; ++i) ReadMemory(memory, bytes);
  const auto read = static_cast<double>(passes * (bytes / kReadStep * kReadStep));
  return read / (base::ProcessorSeconds() - start) / 1e9;
}

}  // namespace sluice::kernels

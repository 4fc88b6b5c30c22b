// Roofs of the dot products of low precision: assembly, so that no compiler spills what is
// measured, and so that it needs no flags of a machine that has them.

#include <cstdint>

#include "base/processor_time.h"
#include "kernels/roof.h"

namespace sluice::kernels {
namespace {

constexpr int64_t kRounds = 100'000;

// Twelve independent chains of STEP(i) into register i; the registers above them are temporary.
#define TWELVE(STEP) \
  STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)
#define SECONDS_OF(STEP)                                                                           \
  [] {                                                                                             \
    int64_t rounds = kRounds;                                                                      \
    const double start = base::ProcessorSeconds();                                                 \
    asm volatile(                                                                                  \
        "vpxor %%xmm15, %%xmm15, %%xmm15\n\t"                                                      \
        "1:\n\t" TWELVE(STEP) "dec %0\n\tjnz 1b\n\tvzeroupper\n\t"                                 \
        : "+r"(rounds)                                                                             \
        :                                                                                          \
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc");                                      \
    return base::ProcessorSeconds() - start;                                                       \
  }()

#define VNNI_STEP(i) "vpdpbusd %%zmm15, %%zmm15, %%zmm" #i "\n\t"
#define BF16_STEP(i) "vdpbf16ps %%zmm15, %%zmm15, %%zmm" #i "\n\t"
#define WORDS_STEP(i)                      \
  "vpmaddwd %%ymm15, %%ymm15, %%ymm14\n\t" \
  "vpaddd %%ymm14, %%ymm" #i ", %%ymm" #i "\n\t"
#define BYTES_STEP(i)                        \
  "vpmaddubsw %%ymm15, %%ymm15, %%ymm14\n\t" \
  "vpmaddwd %%ymm15, %%ymm14, %%ymm14\n\t"   \
  "vpaddd %%ymm14, %%ymm" #i ", %%ymm" #i "\n\t"

// Four accumulators of sixteen by sixteen, as the product has them.
#define TILE_SECONDS(op)                                                              \
  [] {                                                                                \
    int64_t rounds = kRounds;                                                         \
    const double start = base::ProcessorSeconds();                                    \
    asm volatile(                                                                     \
        "ldtilecfg %1\n\t"                                                            \
        "1:\n\t" op " %%tmm6, %%tmm4, %%tmm0\n\t" op " %%tmm7, %%tmm4, %%tmm1\n\t" op \
        " %%tmm6, %%tmm5, %%tmm2\n\t" op                                              \
        " %%tmm7, %%tmm5, %%tmm3\n\t"                                                 \
        "dec %0\n\tjnz 1b\n\ttilerelease\n\t"                                         \
        : "+r"(rounds)                                                                \
        : "m"(kTileShapes)                                                            \
        : "cc");                                                                      \
    return base::ProcessorSeconds() - start;                                          \
  }()

struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t reserved[15] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileShapes kTileShapes;

double Rate(double seconds, int64_t steps, int64_t products) {
  return static_cast<double>(kRounds * steps * products * 2) / seconds / 1e9;
}

}  // namespace

double LowPathRoof(LowPath path) {
  switch (path) {
    case LowPath::kWiden:
      return MultiplyAddRoof();
    case LowPath::kWords:
      return Rate(SECONDS_OF(WORDS_STEP), 12, 16);
    case LowPath::kBytes:
      return Rate(SECONDS_OF(BYTES_STEP), 12, 32);
    case LowPath::kVnni:
      if ((LowFeatures() & kHasInt8Tiles) != 0)
        return Rate(TILE_SECONDS("tdpbusd"), 4, 16 * 16 * 64);
      return Rate(SECONDS_OF(VNNI_STEP), 12, 64);
    case LowPath::kBF16Dots:
      return Rate(SECONDS_OF(BF16_STEP), 12, 32);
    case LowPath::kBF16Tiles:
      return Rate(TILE_SECONDS("tdpbf16ps"), 4, 16 * 16 * 32);
  }
  return 0;
}

}  // namespace sluice::kernels

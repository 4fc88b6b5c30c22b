// How products of low precision are computed here: which dot instructions the machine has, found
// once at start.
#pragma once

#include <cstdint>

namespace sluice::kernels {

// What a linear layer's weight is kept as, chosen at load.
//
// kInt8: s8 with a scale for each output column; rows of activations are quantised to u8 as they
// come, each with its own scale and zero point. Sums are exact integers: the same bits on every
// machine.
// kBF16: bf16; activations are rounded to bf16 where the machine multiplies bf16 matrices, and stay
// f32 elsewhere.
// kInt8Storage, kBF16Storage: s8 or bf16 in memory alone; the arithmetic is that of f32 on the
// widened weights.
enum class WeightForm : uint8_t { kF32, kBF16, kInt8, kBF16Storage, kInt8Storage };
inline constexpr int kWeightFormCount = 5;

const char* WeightFormName(WeightForm form);  // "f32", "bf16", "int8", "bf16-storage", …

// What computes a packed weight. kWiden: f32 multiply-adds of widened weights. kWords: vpmaddwd on
// s16, exact. kBytes: vpmaddubsw, for weights whose pairs cannot saturate it. kVnni: vpdpbusd, and
// AMX for more than a few rows where the machine has it. kBF16Dots: vdpbf16ps. kBF16Tiles: AMX.
enum class LowPath : uint8_t { kWiden, kWords, kBytes, kVnni, kBF16Dots, kBF16Tiles };
inline constexpr int kLowPathCount = 6;

const char* LowPathName(LowPath path);
// Whether a path takes rows of activations in bf16.
constexpr bool TakesBrainRows(LowPath path) {
  return path == LowPath::kBF16Dots || path == LowPath::kBF16Tiles;
}

// Features beyond a Target, as bits.
inline constexpr uint32_t kHasVnni = 1;       // AVX512_VNNI
inline constexpr uint32_t kHasBF16Dots = 2;   // AVX512_BF16
inline constexpr uint32_t kHasInt8Tiles = 4;  // AMX with AVX512_BF16, and this process may use it
inline constexpr uint32_t kHasBF16Tiles = 8;

// Those of this machine; asks the system for AMX's registers at the first call.
uint32_t MachineLowFeatures();
// Those that packing and running may use: MachineLowFeatures() less kHasBF16Dots where f32's
// multiply-adds beat them, unless a test has chosen others; none while the active target is AVX2.
uint32_t LowFeatures();
// Leaves only the bits of `mask` that the machine has, those that it would not prefer among them;
// ~0u leaves the choice to the machine again. Weights packed before keep their path. For tests,
// while no kernel runs.
void LimitLowFeaturesForTesting(uint32_t mask);

// The path for a weight of `form`, which is not kF32. kInt8 gives kVnni or kWords; packing replaces
// the latter by kBytes where it can.
LowPath PathFor(WeightForm form);

}  // namespace sluice::kernels

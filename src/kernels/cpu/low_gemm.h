// The per-target entry points of the products of low precision. Dot products are compiled for the
// features that they need; what comes before and behind them for AVX2 and AVX-512.
#pragma once

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/low_gemm.h"

namespace sluice::kernels {

// Sums of a strip that wait for their epilogue: [rows, columns] i32 or f32 of C at (row, column),
// `stride` elements from row to row.
struct LowSums {
  const void* data;
  int64_t stride;
  int64_t row, rows;
  int64_t column, columns;
};

// Scales, bias, residual and activation; stores C, or bf16 into args.out where that is set.
SLUICE_DECLARE_ISA(void FinishLow(const LowGemmArgs& args, const LowSums& sums))
// Rows [begin, end).
SLUICE_DECLARE_ISA(void RunPrepareRows(const PrepareRowsArgs& args, int64_t begin, int64_t end))
SLUICE_DECLARE_ISA(void RunLowWiden(const LowGemmArgs& args, const GemmRegion& region))

namespace avx2 {
void RunLowWords(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region);
void RunLowBytes(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region);
}  // namespace avx2
namespace vnni {
void RunLowVnni(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region);
}
namespace bf16 {
void RunLowDots(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region);
}
namespace amx {
// kVnni (as int8) and kBF16Tiles.
void RunLowTiles(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region);
}  // namespace amx

// Rows that one call of the dot loops takes.
inline constexpr int64_t kWordsRows = 6;
inline constexpr int64_t kBytesRows = 5;
inline constexpr int64_t kDotsRows = 14;
inline constexpr int64_t kTilesRows = 32;

}  // namespace sluice::kernels

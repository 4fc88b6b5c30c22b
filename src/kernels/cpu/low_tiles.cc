// Products of int8 and bf16 weights in AMX's tile registers. Compiled for AVX-512 with AMX.
#include "kernels/cpu/low_gemm.h"
#include "kernels/cpu/tile_registers.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

// Of k at a time, 768 bytes: with 32 rows of A in L1 only B streams from L2.
constexpr int64_t kStepsAtOnce = 12;
// Columns whose sums wait for the rest of k: 64 KiB of them.
constexpr int64_t kWaitingColumns = 512;
// Bytes of activations that stay in L1 while a panel of B passes over them.
constexpr int64_t kGroupBytes = 28 << 10;

// One region's rows, of which some strips at a time are at work.
template <bool kInt8>
struct TileRun {
  const LowGemmArgs& args;
  int64_t steps;       // of all k
  int64_t each;        // at a time
  int64_t shaped = 0;  // rows that the tiles are set up for
  alignas(64) int32_t sums[kTilesRows * kWaitingColumns];

  explicit TileRun(const LowGemmArgs& run_args)
      : args(run_args), steps(run_args.b.groups * 4 / kStepBytes) {
    const int64_t cuts = (steps + kStepsAtOnce - 1) / kStepsAtOnce;
    each = (steps + cuts - 1) / cuts;
  }

  void Shape(int64_t rows) {
    if (rows == shaped) return;
    ShapeTiles(rows);
    shaped = rows;
  }

  // `to` [32, 32] of the strip at (row, n): steps [first, first + count) of k.
  void Dots(int64_t row, int64_t rows, int64_t n, int64_t first, int64_t count, int32_t* to) {
    TileBlock block = {};
    block.a = args.rows.data + row * args.rows.stride + first * kStepBytes;
    block.a_row = args.rows.stride;
    block.b = args.b.data + (n / kWidth * steps + first) * kPanelStep;
    block.steps = count;
    block.resume = first > 0;
    block.sums = to;
    block.sums_row = kPanelRow;
    TileDots<kInt8>(block, rows);
  }

  void Finish(int64_t row, int64_t rows, int64_t n, int64_t end, const int32_t* from) {
    const int64_t columns = end - n < kWidth ? end - n : kWidth;
    avx512::FinishLow(args, LowSums{from, kWidth, row, rows, n, columns});
  }

  // Strips of `strip` rows in [row, row + rows), all of k at a time: a panel of B passes over them.
  void RunWhole(int64_t row, int64_t rows, int64_t strip, int64_t n0, int64_t n1) {
    Shape(strip);
    for (int64_t n = n0; n < n1; n += kWidth) {
      for (int64_t at = row; at < row + rows; at += strip) {
        Dots(at, strip, n, 0, steps, sums);
        Finish(at, strip, n, n1, sums);
      }
    }
  }

  // One strip, k in blocks.
  void RunCut(int64_t row, int64_t rows, int64_t n0, int64_t n1) {
    Shape(rows);
    for (int64_t from = n0; from < n1; from += kWaitingColumns) {
      const int64_t to = n1 - from < kWaitingColumns ? n1 : from + kWaitingColumns;
      for (int64_t first = 0; first < steps; first += each) {
        const int64_t count = steps - first < each ? steps - first : each;
        for (int64_t n = from; n < to; n += kWidth) {
          int32_t* const waiting = sums + (n - from) * kTilesRows;
          Dots(row, rows, n, first, count, waiting);
          if (first + count == steps) Finish(row, rows, n, to, waiting);
        }
      }
    }
  }
};

template <bool kInt8>
void RunRegion(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  TileRun<kInt8> run(args);
  int64_t group = kGroupBytes / (kTilesRows * args.rows.stride) * kTilesRows;  // whole strips
  if (group < kTilesRows) group = kTilesRows;
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += plan.block_columns) {
    const int64_t n1 =
        region.column_end < n0 + plan.block_columns ? region.column_end : n0 + plan.block_columns;
    for (int64_t row = region.row_begin; row < region.row_end;) {
      const int64_t left = region.row_end - row;
      const int64_t strip = left < kTilesRows ? left : kTilesRows;
      int64_t rows = strip;
      if (run.each < run.steps) {
        run.RunCut(row, strip, n0, n1);
      } else {
        // As many whole strips as a group has; what is left of the rows is a strip of its own.
        if (strip == kTilesRows) rows = left < group ? left / kTilesRows * kTilesRows : group;
        run.RunWhole(row, rows, strip, n0, n1);
      }
      row += rows;
    }
  }
  _tile_release();
}

}  // namespace

void RunLowTiles(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  if (args.b.path == LowPath::kVnni) return RunRegion<true>(args, plan, region);
  RunRegion<false>(args, plan, region);
}

}  // namespace sluice::kernels::SLUICE_ISA

// Products of int8 and bf16 weights in AMX's tile registers. Compiled for AVX-512 with AMX.
#include "kernels/cpu/low_finish.h"
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
//
// While one panel's products run, the vector units finish the panel before it, some rows with each
// step: behind its own last step they would wait for the tiles to be stored, and the next tiles for
// them.
template <bool kInt8, bool kBrain, class F>
struct TileRun {
  using Pending = ColumnsFinish<kInt8, kBrain, false>;

  const LowGemmArgs& args;
  F activate;
  int64_t steps;       // of all k
  int64_t each;        // at a time
  int64_t shaped = 0;  // rows that the tiles are set up for
  // What comes after the rows at work: on its way from L3 to L2 meanwhile, since the rows of a tile
  // follow each other at a distance that no hardware fetches.
  const std::byte* ahead = nullptr;
  const std::byte* ahead_end = nullptr;
  int64_t ahead_each = 0;
  Pending pending;
  alignas(64) int32_t sums[kTilesRows * kWaitingColumns];

  TileRun(const LowGemmArgs& run_args, F run_activate)
      : args(run_args), activate(run_activate), steps(run_args.b.groups * 4 / kStepBytes) {
    const int64_t cuts = (steps + kStepsAtOnce - 1) / kStepsAtOnce;
    each = (steps + cuts - 1) / cuts;
  }

  void Shape(int64_t rows) {
    if (rows == shaped) return;
    ShapeTiles(rows);
    shaped = rows;
  }

  // Rows [row, row + rows) are next, after this many steps.
  void Fetch(int64_t row, int64_t rows, int64_t meanwhile) {
    ahead = args.rows.data + row * args.rows.stride;
    ahead_end = ahead + rows * args.rows.stride;
    ahead_each = (rows * args.rows.stride / kLineBytes + meanwhile - 1) / meanwhile;
  }

  // `to` [32, 32] of the strip at (row, n): steps [first, first + count) of k.
  template <PanelReads kReads>
  void Dots(int64_t row, int64_t rows, int64_t n, int64_t first, int64_t count, int32_t* to) {
    TileBlock block = {};
    block.a = args.rows.data + row * args.rows.stride + first * kStepBytes;
    block.a_row = args.rows.stride;
    block.b = args.b.data + (n / kWidth * steps + first) * kPanelStep;
    block.steps = count;
    block.resume = first > 0;
    block.sums = to;
    block.sums_row = kPanelRow;
    block.ahead = ahead;
    block.ahead_each = ahead < ahead_end ? ahead_each : 0;
    ahead += count * block.ahead_each * kLineBytes;
    Pending before = pending;
    const int64_t each_step = (before.left + count - 1) / count;
    // All of them are done before the tiles are stored.
    TileDots<kInt8, kReads>(
        block, rows, [&]() __attribute__((always_inline)) {
          for (int64_t i = each_step; i > 0 && before.left > 0; --i)
            before.template Row<false>(activate);
        });
    pending.left = 0;
  }

  void Finish(int64_t row, int64_t rows, int64_t n, int64_t end, const int32_t* from) {
    const LowSums done{from, kWidth, row, rows, n, end - n < kWidth ? end - n : kWidth};
    if (done.columns == kWidth && args.factor == nullptr)
      return pending.Start(args, done, 0, kWidth / 2);
    FinishStrip<kInt8, kBrain>(args, done, activate);
  }
  void Flush() { pending.All(activate); }

  // Strips of `strip` rows in [row, row + rows), all of k at a time: a panel of B passes over them.
  void RunWhole(int64_t row, int64_t rows, int64_t strip, int64_t n0, int64_t n1) {
    Shape(strip);
    for (int64_t n = n0; n < n1; n += kWidth) {
      for (int64_t at = row; at < row + rows; at += strip) {
        if (strip == rows) {
          Dots<PanelReads::kOnce>(at, strip, n, 0, steps, sums);
        } else {
          Dots<PanelReads::kAgain>(at, strip, n, 0, steps, sums);
        }
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
          Dots<PanelReads::kOnce>(row, rows, n, first, count, waiting);
          if (first + count == steps) Finish(row, rows, n, to, waiting);
        }
      }
    }
  }
};

template <bool kInt8, bool kBrain, class F>
void RunRegion(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region,
               F activate) {
  TileRun<kInt8, kBrain, F> run(args, activate);
  int64_t group = kGroupBytes / (kTilesRows * args.rows.stride) * kTilesRows;  // whole strips
  if (group < kTilesRows) group = kTilesRows;
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += plan.block_columns) {
    const int64_t n1 =
        region.column_end < n0 + plan.block_columns ? region.column_end : n0 + plan.block_columns;
    for (int64_t row = region.row_begin; row < region.row_end;) {
      const int64_t left = region.row_end - row;
      const int64_t strip = left < kTilesRows ? left : kTilesRows;
      int64_t rows = strip;
      // As many whole strips as a group has; what is left of the rows is a strip of its own.
      const bool cut = run.each < run.steps;
      if (!cut && strip == kTilesRows) rows = left < group ? left / kTilesRows * kTilesRows : group;
      const int64_t panels = (n1 - n0 + kWidth - 1) / kWidth;
      run.Fetch(row + rows, left - rows < rows ? left - rows : rows,
                panels * run.steps * ((rows + kTilesRows - 1) / kTilesRows));
      if (cut) {
        run.RunCut(row, strip, n0, n1);
      } else {
        run.RunWhole(row, rows, strip, n0, n1);
      }
      row += rows;
    }
  }
  run.Flush();
  _tile_release();
}

}  // namespace

void RunLowTiles(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  WithFinish(args, [&](auto integers, auto brain, auto activate) HWY_ATTR {
    RunRegion<integers.value, brain.value>(args, plan, region, activate);
  });
}

}  // namespace sluice::kernels::SLUICE_ISA

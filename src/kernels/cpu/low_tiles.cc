// Products of int8 and bf16 weights in AMX's tile registers. Compiled for AVX-512 with AMX.
//
// Registers 0 to 3 hold 32 x 32 sums, 4 and 5 sixteen rows of A each, 6 and 7 sixteen columns of B
// each, 64 bytes of k at a time. They are set up by each call and released at its end, so that no
// other code ever finds them in use.
#include <immintrin.h>

#include "kernels/cpu/low_gemm.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr int64_t kWidth = 32;
constexpr int64_t kTileRows = 16;
constexpr int64_t kStepBytes = 64;                   // of k that a tile holds
constexpr int64_t kPanelStep = kStepBytes * kWidth;  // bytes of a panel for them
constexpr int64_t kPanelRow = 4 * kWidth;            // bytes between a panel's groups

struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles for a strip of 17 to 32 rows, or, with `low` = 0, of up to 16.
void ShapeTiles(int64_t high, int64_t low) {
  TileShapes shapes;
  const int64_t rows[8] = {high, high, low, low, high, low, kTileRows, kTileRows};
  for (int i = 0; i < 8; ++i) {
    if (rows[i] == 0) continue;
    shapes.rows[i] = static_cast<uint8_t>(rows[i]);
    shapes.row_bytes[i] = kStepBytes;
  }
  // The intrinsic claims to read a pointer's worth of it only.
  asm volatile("" : : "r"(&shapes) : "memory");
  _tile_loadconfig(&shapes);
}

// With `resume` the sums go on from what `sums` holds.
template <bool kInt8>
void TileDots(const std::byte* a, int64_t a_row, const std::byte* b, int64_t steps, bool resume,
              int32_t* sums) {
  const std::byte* const low = a + kTileRows * a_row;
  int32_t* const below = sums + kTileRows * kWidth;
  if (resume) {
    _tile_loadd(0, sums, kPanelRow);
    _tile_loadd(1, sums + kWidth / 2, kPanelRow);
    _tile_loadd(2, below, kPanelRow);
    _tile_loadd(3, below + kWidth / 2, kPanelRow);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t s = 0; s < steps; ++s, b += kPanelStep) {
    _tile_loadd(6, b, kPanelRow);
    _tile_loadd(4, a + s * kStepBytes, a_row);
    if constexpr (kInt8) {
      _tile_dpbusd(0, 4, 6);
    } else {
      _tile_dpbf16ps(0, 4, 6);
    }
    _tile_loadd(7, b + kPanelRow / 2, kPanelRow);
    if constexpr (kInt8) {
      _tile_dpbusd(1, 4, 7);
    } else {
      _tile_dpbf16ps(1, 4, 7);
    }
    _tile_loadd(5, low + s * kStepBytes, a_row);
    if constexpr (kInt8) {
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    } else {
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, kPanelRow);
  _tile_stored(1, sums + kWidth / 2, kPanelRow);
  _tile_stored(2, below, kPanelRow);
  _tile_stored(3, below + kWidth / 2, kPanelRow);
}

// Up to sixteen rows.
template <bool kInt8>
void TileDotsShort(const std::byte* a, int64_t a_row, const std::byte* b, int64_t steps,
                   bool resume, int32_t* sums) {
  if (resume) {
    _tile_loadd(0, sums, kPanelRow);
    _tile_loadd(1, sums + kWidth / 2, kPanelRow);
  } else {
    _tile_zero(0);
    _tile_zero(1);
  }
  for (int64_t s = 0; s < steps; ++s, b += kPanelStep) {
    _tile_loadd(4, a + s * kStepBytes, a_row);
    _tile_loadd(6, b, kPanelRow);
    _tile_loadd(7, b + kPanelRow / 2, kPanelRow);
    if constexpr (kInt8) {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
    }
  }
  _tile_stored(0, sums, kPanelRow);
  _tile_stored(1, sums + kWidth / 2, kPanelRow);
}

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
    ShapeTiles(rows < kTileRows ? rows : kTileRows, rows < kTileRows ? 0 : rows - kTileRows);
    shaped = rows;
  }

  // `to` [32, 32] of the strip at (row, n): steps [first, first + count) of k.
  void Dots(int64_t row, int64_t rows, int64_t n, int64_t first, int64_t count, int32_t* to) {
    const int64_t stride = args.rows.stride;
    const std::byte* const a = args.rows.data + row * stride + first * kStepBytes;
    const std::byte* const b = args.b.data + (n / kWidth * steps + first) * kPanelStep;
    if (rows > kTileRows) {
      TileDots<kInt8>(a, stride, b, count, first > 0, to);
    } else {
      TileDotsShort<kInt8>(a, stride, b, count, first > 0, to);
    }
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

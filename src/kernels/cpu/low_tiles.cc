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

template <bool kInt8>
void TileDots(const std::byte* a, int64_t a_row, const std::byte* b, int64_t steps, int32_t* sums) {
  const std::byte* const low = a + kTileRows * a_row;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
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
  int32_t* const below = sums + kTileRows * kWidth;
  _tile_stored(0, sums, kPanelRow);
  _tile_stored(1, sums + kWidth / 2, kPanelRow);
  _tile_stored(2, below, kPanelRow);
  _tile_stored(3, below + kWidth / 2, kPanelRow);
}

// Up to sixteen rows.
template <bool kInt8>
void TileDotsShort(const std::byte* a, int64_t a_row, const std::byte* b, int64_t steps,
                   int32_t* sums) {
  _tile_zero(0);
  _tile_zero(1);
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

template <bool kInt8>
void RunRegion(const LowGemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  alignas(64) int32_t sums[kTilesRows * kWidth];
  const int64_t steps = args.b.groups * 4 / kStepBytes;
  int64_t shaped = 0;  // rows that the tiles are set up for
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += plan.block_columns) {
    const int64_t n1 =
        region.column_end < n0 + plan.block_columns ? region.column_end : n0 + plan.block_columns;
    for (int64_t row = region.row_begin; row < region.row_end; row += kTilesRows) {
      const int64_t left = region.row_end - row;
      const int64_t rows = left < kTilesRows ? left : kTilesRows;
      if (rows != shaped)
        ShapeTiles(rows < kTileRows ? rows : kTileRows, rows < kTileRows ? 0 : rows - kTileRows);
      shaped = rows;
      const std::byte* const a = args.rows.data + row * args.rows.stride;
      for (int64_t n = n0; n < n1; n += kWidth) {
        const std::byte* const b = args.b.data + n / kWidth * steps * kPanelStep;
        if (rows > kTileRows) {
          TileDots<kInt8>(a, args.rows.stride, b, steps, sums);
        } else {
          TileDotsShort<kInt8>(a, args.rows.stride, b, steps, sums);
        }
        avx512::FinishLow(args,
                          LowSums{sums, kWidth, row, rows, n, n1 - n < kWidth ? n1 - n : kWidth});
      }
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

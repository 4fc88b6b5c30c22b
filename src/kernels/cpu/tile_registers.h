// AMX's tile registers, shared by the products that run in them: how they are set up, and the sums
// of up to 32 x 32. Only for files compiled for AMX; every function has internal linkage.
//
// Registers 0 to 3 hold 32 x 32 sums, 4 and 5 sixteen rows of A each, 6 and 7 sixteen columns of B
// each, 64 bytes of k at a time. They are set up by each kernel call and released at its end, so
// that no other code ever finds them in use.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa.h"

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

// For strips of `rows` rows, 1 to 32.
inline void ShapeTiles(int64_t strip) {
  const int64_t high = strip < kTileRows ? strip : kTileRows;
  const int64_t low = strip - high;
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

// What one call adds up: `steps` of 64 bytes along k of up to 32 rows of A against a panel of B.
struct TileBlock {
  const std::byte* a;
  int64_t a_row;  // bytes
  const std::byte* b;
  int64_t steps;
  bool resume;       // the sums go on from what `sums` holds
  void* sums;        // 32 columns of i32 or f32
  int64_t sums_row;  // bytes
  // Lines that are fetched into L2 meanwhile, so many with each step, or 0.
  const std::byte* ahead;
  int64_t ahead_each;
};

constexpr int64_t kLineBytes = 64;

// Fetches `count` lines and moves behind them; they may lie behind their array's end.
__attribute__((always_inline)) inline void FetchAhead(const std::byte*& at, int64_t count) {
  for (int64_t i = 0; i < count; ++i, at += kLineBytes) _mm_prefetch(at, _MM_HINT_T1);
}

// How a panel of B is read. kOnce: every line of it comes from L2 and is not wanted again before A
// is, which L1 therefore keeps (84 against 64 % of the roof at k = 384 of bf16). kAgain: it may
// stay in L1.
enum class PanelReads { kAgain, kOnce };

// The columns of B that registers 6 and 7 hold; the register must be a literal.
template <PanelReads kReads>
__attribute__((always_inline)) inline void LoadFirstColumns(const std::byte* from) {
  if constexpr (kReads == PanelReads::kOnce) {
    _tile_stream_loadd(6, from, kPanelRow);
  } else {
    _tile_loadd(6, from, kPanelRow);
  }
}
template <PanelReads kReads>
__attribute__((always_inline)) inline void LoadLastColumns(const std::byte* from) {
  if constexpr (kReads == PanelReads::kOnce) {
    _tile_stream_loadd(7, from, kPanelRow);
  } else {
    _tile_loadd(7, from, kPanelRow);
  }
}

// 17 to 32 rows. between() is called with each step: what the vector units do meanwhile.
template <bool kInt8, PanelReads kReads, class Between>
__attribute__((always_inline)) inline void TileDotsTall(const TileBlock& block, Between between) {
  const std::byte* const a = block.a;
  const std::byte* const low = a + kTileRows * block.a_row;
  const std::byte* b = block.b;
  const std::byte* ahead = block.ahead;
  auto* const sums = static_cast<std::byte*>(block.sums);
  std::byte* const below = sums + kTileRows * block.sums_row;
  const int64_t a_row = block.a_row;
  if (block.resume) {
    _tile_loadd(0, sums, block.sums_row);
    _tile_loadd(1, sums + kStepBytes, block.sums_row);
    _tile_loadd(2, below, block.sums_row);
    _tile_loadd(3, below + kStepBytes, block.sums_row);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t s = 0; s < block.steps; ++s, b += kPanelStep) {
    FetchAhead(ahead, block.ahead_each);
    LoadFirstColumns<kReads>(b);
    _tile_loadd(4, a + s * kStepBytes, a_row);
    if constexpr (kInt8) {
      _tile_dpbusd(0, 4, 6);
    } else {
      _tile_dpbf16ps(0, 4, 6);
    }
    LoadLastColumns<kReads>(b + kPanelRow / 2);
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
    between();
  }
  _tile_stored(0, sums, block.sums_row);
  _tile_stored(1, sums + kStepBytes, block.sums_row);
  _tile_stored(2, below, block.sums_row);
  _tile_stored(3, below + kStepBytes, block.sums_row);
}

// Up to sixteen rows.
template <bool kInt8, PanelReads kReads, class Between>
__attribute__((always_inline)) inline void TileDotsShort(const TileBlock& block, Between between) {
  auto* const sums = static_cast<std::byte*>(block.sums);
  const std::byte* b = block.b;
  const int64_t a_row = block.a_row;
  if (block.resume) {
    _tile_loadd(0, sums, block.sums_row);
    _tile_loadd(1, sums + kStepBytes, block.sums_row);
  } else {
    _tile_zero(0);
    _tile_zero(1);
  }
  for (int64_t s = 0; s < block.steps; ++s, b += kPanelStep) {
    _tile_loadd(4, block.a + s * kStepBytes, a_row);
    LoadFirstColumns<kReads>(b);
    LoadLastColumns<kReads>(b + kPanelRow / 2);
    if constexpr (kInt8) {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
    }
    between();
  }
  _tile_stored(0, sums, block.sums_row);
  _tile_stored(1, sums + kStepBytes, block.sums_row);
}

template <bool kInt8, PanelReads kReads, class Between>
__attribute__((always_inline)) inline void TileDots(const TileBlock& block, int64_t rows,
                                                    Between between) {
  if (rows > kTileRows) return TileDotsTall<kInt8, kReads>(block, between);
  TileDotsShort<kInt8, kReads>(block, between);
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

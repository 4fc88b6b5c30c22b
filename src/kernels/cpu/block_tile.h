// A tile of a product with weights in blocks: spreads a chunk of its weights, multiplies it with
// all rows, goes on along k. Only for files that are compiled once per target; a Kit has the dot
// products and the Vec of block_decode.h.
#pragma once

#include <utility>

#include "kernels/cpu/block_decode.h"
#include "kernels/cpu/block_int4.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

inline int64_t BlockMin(int64_t a, int64_t b) {
  return a < b ? a : b;
}

constexpr int kBlockStripMax = 6;
constexpr int64_t kBlockUnits = kBlockChunk / 16;

// A few rows of activations over a chunk.
struct BlockStrip {
  const int8_t* codes[kBlockStripMax];
  const float* scales[kBlockStripMax];                      // [units of 32]
  const float* code_sums[kBlockStripMax];                   // [units of 32]
  alignas(64) int32_t begins[kBlockStripMax][kBlockUnits];  // where each unit's sum begins
};

// Rows [row, row + count) at element k0, `elements` long.
template <class Format>
__attribute__((always_inline)) inline void LoadStrip(const BlockGemmArgs& args, int64_t row,
                                                     int64_t count, int64_t k0, int64_t elements,
                                                     int offset, BlockStrip& strip) {
  for (int64_t r = 0; r < count; ++r) {
    const int64_t at = (row + r) * args.w.k + k0;
    strip.codes[r] = args.rows.codes + (row + r) * args.rows.code_stride + k0;
    strip.scales[r] = args.rows.scales + at / 32;
    strip.code_sums[r] = args.rows.code_sums + at / 32;
    if (offset == 0) continue;
    const int32_t* const sums =
        Format::kUnit == 16 ? args.rows.half_sums + at / 16 : args.rows.sums + at / 32;
    for (int64_t u = 0; u < elements / Format::kUnit; u += 8) {
      // Behind the last unit nothing is used.
      const int64_t left = elements / Format::kUnit - u;
      __m256i x;
      if (left >= 8) {
        x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + u));
      } else {
        alignas(32) int32_t rest[8] = {};
        for (int64_t i = 0; i < left; ++i) rest[i] = sums[u + i];
        x = _mm256_load_si256(reinterpret_cast<const __m256i*>(rest));
      }
      _mm256_store_si256(reinterpret_cast<__m256i*>(strip.begins[r] + u),
                         _mm256_mullo_epi32(x, _mm256_set1_epi32(-offset)));
    }
  }
}

// A panel's rows at element k0. The last panel's few rows are moved into `few`, with zeros behind.
constexpr int64_t kFewBytes = kBlockChunk / 32 * 34;
template <class Format>
BlockLines PanelRows(const BlockMatrix& w, int64_t column, int64_t k0, int64_t elements,
                     std::byte* few) {
  constexpr int64_t kBytes = Format::kBytes;
  const std::byte* const rows = w.data + column * w.row_bytes;
  const int64_t block = k0 / Format::kElements;
  if (w.interleaved) return {rows + block * kBlockPanel * kBytes, kBytes, kBlockPanel * kBytes};
  const std::byte* const from = rows + block * kBytes;
  if (w.n - column >= kBlockPanel) return {from, w.row_bytes, kBytes};
  __builtin_memset(few, 0, kBlockPanel * kFewBytes);
  for (int64_t i = 0; i < w.n - column; ++i) {
    __builtin_memcpy(few + i * kFewBytes, from + i * w.row_bytes,
                     static_cast<size_t>(elements / Format::kElements * Format::kBytes));
  }
  return {few, kFewBytes, kBytes};
}

template <class Vec, class Format>
__attribute__((noinline)) void SpreadRows(const BlockMatrix& w, int64_t column, int64_t k0,
                                          int64_t elements, BlockFetch& fetch, BlockPanel& panel) {
  std::byte few[kBlockPanel * kFewBytes];
  const BlockLines all = PanelRows<Format>(w, column, k0, elements, few);
  for (int first = 0; first < static_cast<int>(kBlockPanel); first += Vec::kRows) {
    BlockLines rows = {all.data + first * all.stride, all.stride, all.step};
    PanelSink sink = {panel.codes + 4 * first, panel.scales + first, panel.mins + first};
    for (int64_t left = elements / Format::kElements; left > 0; --left) {
      Format::Decode(rows, sink);
      rows.data += rows.step;
      fetch.Next<Vec::kRows * Format::kBytes>();
    }
  }
}

template <class Vec>
void StoreBlockSums(const BlockGemmArgs& args, const float* sums, int64_t row, int64_t rows,
                    int64_t column, int64_t columns) {
  const float* const bias = args.bias == nullptr ? nullptr : args.bias + column;
  for (int64_t r = 0; r < rows; ++r) {
    const float* const from = sums + r * kBlockColumns;
    float* const to = args.c + (row + r) * args.c_stride + column;
    const float* const add = args.residual == nullptr
                                 ? nullptr
                                 : args.residual + (row + r) * args.residual_stride + column;
    int64_t j = 0;
    for (; j + Vec::kRows <= columns; j += Vec::kRows) {
      auto x = Vec::LoadF(from + j);
      if (bias != nullptr) x = Vec::AddF(x, Vec::LoadF(bias + j));
      if (add != nullptr) x = Vec::AddF(x, Vec::LoadF(add + j));
      Vec::StoreFU(to + j, x);
    }
    for (; j < columns; ++j) {
      float x = from[j];
      if (bias != nullptr) x += bias[j];
      if (add != nullptr) x += add[j];
      to[j] = x;
    }
  }
}

// C's lines that the last chunk of a strip will write.
inline void FetchC(const BlockGemmArgs& args, int64_t row, int64_t rows, int64_t column) {
  for (int64_t r = 0; r < rows; ++r) {
    const char* const c =
        reinterpret_cast<const char*>(args.c + (row + r) * args.c_stride + column);
    __builtin_prefetch(c, 1);
    __builtin_prefetch(c + 64, 1);
  }
}

// The columns [column, column + 32) of C's rows [row, row + rows), rows <= kBlockRowsMax.
template <class Kit, class Format, class Spread>
void RunBlockTile(const BlockGemmArgs& args, int64_t row, int64_t rows, int64_t column,
                  int64_t columns, BlockFetch& fetch, Spread spread) {
  constexpr int64_t kStrip = Kit::template kStrip<Format>;
  alignas(64) float sums[(kBlockRowsMax + kBlockStripMax) * kBlockColumns];
  BlockPanel panels[2];
  BlockStrip strip;
  const bool two = columns > kBlockPanel;
  for (int64_t k0 = 0; k0 < args.w.k; k0 += kBlockChunk) {
    const int64_t elements = BlockMin(kBlockChunk, args.w.k - k0);
    const bool last = k0 + elements == args.w.k;
    spread(column, k0, elements, fetch, panels[0]);
    if (two) spread(column + kBlockPanel, k0, elements, fetch, panels[1]);
    if (last) FetchC(args, row, BlockMin(2 * kStrip, rows), column);
    for (int64_t r = 0; r < rows; r += kStrip) {
      const int64_t count = BlockMin(kStrip, rows - r);
      float* const to = sums + r * kBlockColumns;
      if (k0 == 0)
        __builtin_memset(to, 0, static_cast<size_t>(count * kBlockColumns) * sizeof(float));
      if (last && r + 2 * kStrip < rows)
        FetchC(args, row + r + 2 * kStrip, BlockMin(kStrip, rows - r - 2 * kStrip), column);
      LoadStrip<Format>(args, row + r, count, k0, elements, Kit::template kOffset<Format>, strip);
      Kit::template Add<Format>(strip, count, panels, two, elements / Format::kUnit, to);
      if (last) StoreBlockSums<typename Kit::Vec>(args, to, row + r, count, column, columns);
    }
  }
}

// One row of C: codes are multiplied in registers as they are spread, each output's sums in the
// order that they have in a tile. spread(column, first, k0, elements, fetch, sink) feeds a sink.
template <class Kit, class Format, class Feed>
void RunOneRow(const BlockGemmArgs& args, const BlockRegion& region, int64_t column_bytes,
               Feed feed) {
  using Vec = typename Kit::Vec;
  using Sink = typename Kit::template DotSink<Format>;
  constexpr int kParts = static_cast<int>(kBlockPanel) / Vec::kRows;
  alignas(64) float sums[kBlockPanel];
  BlockStrip strip;
  BlockFetch fetch = {args.w.data + (region.column_begin + kBlockPanel) * column_bytes};
  for (int64_t column = region.column_begin; column < region.column_end; column += kBlockPanel) {
    Sink sinks[kParts];
    for (int64_t k0 = 0; k0 < args.w.k; k0 += kBlockChunk) {
      const int64_t elements = BlockMin(kBlockChunk, args.w.k - k0);
      LoadStrip<Format>(args, region.row_begin, 1, k0, elements, Kit::template kOffset<Format>,
                        strip);
      for (int i = 0; i < kParts; ++i) {
        Sink sink = sinks[i];
        sink.Begin(strip);
        feed(column, i * Vec::kRows, k0, elements, fetch, sink);
        sinks[i] = sink;
      }
    }
    for (int i = 0; i < kParts; ++i) Vec::StoreF(sums + i * Vec::kRows, sinks[i].sum);
    StoreBlockSums<Vec>(args, sums, region.row_begin, 1, column,
                        BlockMin(kBlockPanel, region.column_end - column));
  }
}

// `bytes` of W for each column lie beside each other from `begin` on.
template <class Kit, class Format, class Spread>
void RunBlockRegion(const BlockGemmArgs& args, const BlockRegion& region, int64_t column_bytes,
                    Spread spread) {
  for (int64_t column = region.column_begin; column < region.column_end; column += kBlockColumns) {
    const int64_t columns = BlockMin(kBlockColumns, region.column_end - column);
    for (int64_t row = region.row_begin; row < region.row_end; row += kBlockRowsMax) {
      const int64_t rows = BlockMin(kBlockRowsMax, region.row_end - row);
      // While a tile is spread, the next one's bytes are asked for in the order of memory.
      BlockFetch fetch = {args.w.data + (column + columns) * column_bytes};
      RunBlockTile<Kit, Format>(args, row, rows, column, columns, fetch, spread);
    }
  }
}

template <class Kit, class Format>
void RunBlockRows(const BlockGemmArgs& args, const BlockRegion& region) {
  using Vec = typename Kit::Vec;
  if (region.row_end - region.row_begin == 1) {
    std::byte few[kBlockPanel * kFewBytes];
    const auto feed = [&](int64_t column, int64_t first, int64_t k0, int64_t elements,
                          BlockFetch & fetch, auto& sink) __attribute__((always_inline)) {
      BlockLines rows = PanelRows<Format>(args.w, column, k0, elements, few);
      rows.data += first * rows.stride;
      BlockFetch near = {rows.data + kBlockNear};
      for (int64_t left = elements / Format::kElements; left > 0; --left) {
        sink.NextBlock();
        Format::Decode(rows, sink);
        rows.data += rows.step;
        if (args.w.interleaved) {
          near.Next<Vec::kRows * Format::kBytes, 3>();
        } else {
          fetch.Next<Vec::kRows * Format::kBytes>();
        }
      }
    };
    return RunOneRow<Kit, Format>(args, region, args.w.row_bytes, feed);
  }
  RunBlockRegion<Kit, Format>(
      args, region, args.w.row_bytes,
      [&](int64_t column, int64_t k0, int64_t elements, BlockFetch& fetch, BlockPanel& panel) {
        SpreadRows<Vec, Format>(args.w, column, k0, elements, fetch, panel);
      });
}

template <class Kit, class Format>
void RunInt4(const BlockGemmArgs& args, const BlockRegion& region) {
  using Vec = typename Kit::Vec;
  const int64_t column_bytes = Int4PanelBytes(args.w) / kBlockPanel;
  if (region.row_end - region.row_begin == 1) {
    const auto feed = [&](int64_t column, int64_t first, int64_t k0, int64_t elements, BlockFetch&,
                          auto& sink) __attribute__((always_inline)) {
      WalkInt4<Vec, Format>(args.w, column, first, k0, elements, sink);
    };
    return RunOneRow<Kit, Format>(args, region, column_bytes, feed);
  }
  RunBlockRegion<Kit, Format>(
      args, region, column_bytes,
      [&](int64_t column, int64_t k0, int64_t elements, BlockFetch&, BlockPanel& panel) {
        SpreadInt4<Vec, Format>(args.w, column, k0, elements, panel);
      });
}

template <class Kit>
void RunEveryBlock(const BlockGemmArgs& args, const BlockRegion& region) {
  using tensor::BlockFormat;
  using D = BlockDecoder<typename Kit::Vec>;
  if (args.w.group > 0) {
    return args.w.format == BlockFormat::kQ4_1 ? RunInt4<Kit, typename D::Q4_1>(args, region)
                                               : RunInt4<Kit, typename D::Q4_0>(args, region);
  }
  switch (args.w.format) {
    case BlockFormat::kQ8_0:
      return RunBlockRows<Kit, typename D::Q8_0>(args, region);
    case BlockFormat::kQ4_0:
      return RunBlockRows<Kit, typename D::Q4_0>(args, region);
    case BlockFormat::kQ4_1:
      return RunBlockRows<Kit, typename D::Q4_1>(args, region);
    case BlockFormat::kQ5_0:
      return RunBlockRows<Kit, typename D::Q5_0>(args, region);
    case BlockFormat::kQ5_1:
      return RunBlockRows<Kit, typename D::Q5_1>(args, region);
    case BlockFormat::kQ4_K:
      return RunBlockRows<Kit, typename D::Q4_K>(args, region);
    case BlockFormat::kQ5_K:
      return RunBlockRows<Kit, typename D::Q5_K>(args, region);
    case BlockFormat::kQ6_K:
      return RunBlockRows<Kit, typename D::Q6_K>(args, region);
    default:
      return;
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

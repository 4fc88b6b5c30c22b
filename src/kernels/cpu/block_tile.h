// A tile of a product with weights in blocks: spreads a chunk of its weights, multiplies it with
// all rows, goes on along k. Only for files that are compiled once per target; a Kit has the dot
// products and the Vec of block_decode.h.
#pragma once

#include <utility>

#include "kernels/cpu/block_decode.h"
#include "kernels/cpu/block_int4.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

template <int kCount, class F>
__attribute__((always_inline)) inline void RepeatBlock(F f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, kIndex>{}), ...);
  }
  (std::make_integer_sequence<int, kCount>{});
}

inline int64_t BlockMin(int64_t a, int64_t b) {
  return a < b ? a : b;
}

constexpr int kBlockStripMax = 6;
constexpr int64_t kBlockUnits = kBlockChunk / 16;

// A few rows of activations over a chunk.
struct BlockStrip {
  const int8_t* codes[kBlockStripMax];
  const float* scales[kBlockStripMax];                           // [units of 32]
  alignas(64) int32_t begins[kBlockStripMax][kBlockUnits];       // where each unit's sum begins
  alignas(64) float code_sums[kBlockStripMax][kBlockUnits / 2];  // scale times sum, of 32
};

// Rows [row, row + count) at element k0, `elements` long.
template <class Format>
void LoadStrip(const BlockGemmArgs& args, int64_t row, int64_t count, int64_t k0, int64_t elements,
               int offset, BlockStrip& strip) {
  for (int64_t r = 0; r < count; ++r) {
    strip.codes[r] = args.rows.codes + (row + r) * args.rows.code_stride + k0;
    strip.scales[r] = args.rows.scales + ((row + r) * args.w.k + k0) / 32;
    const int32_t* const sums = args.rows.sums + ((row + r) * args.w.k + k0) / 16;
    if constexpr (Format::kUnit == 16) {
      for (int64_t u = 0; u < elements / 16; ++u) strip.begins[r][u] = -offset * sums[u];
    } else {
      for (int64_t u = 0; u < elements / 32; ++u) {
        const int32_t sum = sums[2 * u] + sums[2 * u + 1];
        strip.begins[r][u] = -offset * sum;
        if constexpr (Format::kMin)
          strip.code_sums[r][u] = strip.scales[r][u] * static_cast<float>(sum);
      }
    }
  }
}

// W's rows of one panel; behind the last row it stands again.
template <class Vec>
typename Vec::Rows PanelRows(const BlockMatrix& w, int64_t column, int64_t first) {
  typename Vec::Rows rows;
  for (int i = 0; i < Vec::kRows; ++i) {
    const int64_t n = BlockMin(column + first + i, w.n - 1);
    rows.at[i] = w.data + n * w.row_bytes;
  }
  return rows;
}

template <class Vec, class Format>
void SpreadRows(const BlockMatrix& w, int64_t column, int64_t k0, int64_t elements,
                BlockFetch& fetch, BlockPanel& panel) {
  for (int first = 0; first < static_cast<int>(kBlockPanel); first += Vec::kRows) {
    const typename Vec::Rows rows = PanelRows<Vec>(w, column, first);
    BlockSink sink = {panel.codes + 4 * first, panel.scales + first, panel.mins + first};
    const int64_t begin = k0 / Format::kElements;
    for (int64_t b = begin; b < begin + elements / Format::kElements; ++b) {
      Format::Decode(rows, b * Format::kBytes, sink);
      fetch.Next();
    }
  }
}

inline void StoreBlockSums(const BlockGemmArgs& args, const float* sums, int64_t row, int64_t rows,
                           int64_t column, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* const from = sums + r * kBlockColumns;
    float* const to = args.c + (row + r) * args.c_stride + column;
    const float* const bias = args.bias == nullptr ? nullptr : args.bias + column;
    const float* const add = args.residual == nullptr
                                 ? nullptr
                                 : args.residual + (row + r) * args.residual_stride + column;
    for (int64_t j = 0; j < columns; ++j) {
      float x = from[j];
      if (bias != nullptr) x += bias[j];
      if (add != nullptr) x += add[j];
      to[j] = x;
    }
  }
}

// The columns [column, column + 32) of C's rows [row, row + rows), rows <= kBlockRowsMax.
template <class Kit, class Format, class Spread>
void RunBlockTile(const BlockGemmArgs& args, int64_t row, int64_t rows, int64_t column,
                  int64_t columns, BlockFetch& fetch, Spread spread) {
  alignas(64) float sums[kBlockRowsMax * kBlockColumns];
  BlockPanel panels[2];
  BlockStrip strip;
  __builtin_memset(sums, 0, static_cast<size_t>(rows * kBlockColumns) * sizeof(float));
  const bool two = columns > kBlockPanel;
  for (int64_t k0 = 0; k0 < args.w.k; k0 += kBlockChunk) {
    const int64_t elements = BlockMin(kBlockChunk, args.w.k - k0);
    spread(column, k0, elements, fetch, panels[0]);
    if (two) spread(column + kBlockPanel, k0, elements, fetch, panels[1]);
    constexpr int64_t kStrip = Kit::template kStrip<Format>;
    for (int64_t r = 0; r < rows; r += kStrip) {
      const int64_t count = BlockMin(kStrip, rows - r);
      LoadStrip<Format>(args, row + r, count, k0, elements, Kit::template kOffset<Format>, strip);
      Kit::template Add<Format>(strip, count, panels, two, elements / Format::kUnit,
                                sums + r * kBlockColumns);
    }
  }
  StoreBlockSums(args, sums, row, rows, column, columns);
}

// `bytes` of W for each column lie beside each other from `begin` on.
template <class Kit, class Format, class Spread>
void RunBlockRegion(const BlockGemmArgs& args, const BlockRegion& region, int64_t column_bytes,
                    Spread spread) {
  const std::byte* const end = args.w.data + args.w.n * column_bytes;
  for (int64_t column = region.column_begin; column < region.column_end; column += kBlockColumns) {
    const int64_t columns = BlockMin(kBlockColumns, region.column_end - column);
    for (int64_t row = region.row_begin; row < region.row_end; row += kBlockRowsMax) {
      const int64_t rows = BlockMin(kBlockRowsMax, region.row_end - row);
      // While a tile is spread, the next one's bytes are asked for in the order of memory.
      BlockFetch fetch = {args.w.data + (column + columns) * column_bytes, end,
                          Kit::template FetchStep<Format>()};
      RunBlockTile<Kit, Format>(args, row, rows, column, columns, fetch, spread);
    }
  }
}

template <class Kit, class Format>
void RunBlockRows(const BlockGemmArgs& args, const BlockRegion& region) {
  using Vec = typename Kit::Vec;
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
  RunBlockRegion<Kit, Format>(
      args, region, column_bytes,
      [&](int64_t column, int64_t k0, int64_t elements, BlockFetch& fetch, BlockPanel& panel) {
        SpreadInt4<Vec, Format>(args.w, column, k0, elements, fetch, panel);
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

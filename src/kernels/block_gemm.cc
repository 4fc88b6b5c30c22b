#include "kernels/block_gemm.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"
#include "kernels/block_int4.h"
#include "kernels/cpu/block_gemm.h"
#include "kernels/low_path.h"

namespace sluice::kernels {
namespace {

using tensor::BlockFormat;

// What a tile may read of W and multiply at most: about 100 us on one core.
constexpr int64_t kTileBytes = int64_t{1} << 20;
constexpr int64_t kTileProducts = int64_t{24} << 20;
// With few rows reading W binds: a tile is then about 6 us of that, so that all lanes have a share
// of a small layer too.
constexpr int64_t kFewRows = 16;
constexpr int64_t kFewRowsTileBytes = int64_t{128} << 10;
constexpr int64_t kPrepareBytes = int64_t{64} << 10;  // of activations that a tile prepares

int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

bool IsHalf(BlockFormat format) {
  return format == BlockFormat::kF16 || format == BlockFormat::kBF16;
}

int64_t ColumnBytes(const BlockMatrix& w) {
  return w.group > 0 ? Int4PanelBytes(w) / kBlockPanel : w.row_bytes;
}

// Tiles count down the rows of C first, so that a tile's weights are read again from the caches.
struct Plan {
  int64_t tile_rows, row_tiles;
  int64_t tile_columns, column_tiles;
};
Plan PlanOf(const BlockGemmArgs& args) {
  Plan plan = {};
  plan.row_tiles = CeilDiv(args.m, kBlockRowsMax);
  plan.tile_rows = plan.row_tiles == 0 ? 0 : CeilDiv(args.m, plan.row_tiles);
  const int64_t rows = std::max<int64_t>(1, plan.tile_rows);
  // f32 multiply-adds are a few times slower than dots of integers.
  const int64_t products = IsHalf(args.w.format) ? kTileProducts / 4 : kTileProducts;
  const int64_t bytes = args.m <= kFewRows ? kFewRowsTileBytes : kTileBytes;
  const int64_t columns =
      std::min(bytes / std::max<int64_t>(1, ColumnBytes(args.w)), products / (rows * args.w.k));
  plan.tile_columns = std::max(kBlockColumns, columns / kBlockColumns * kBlockColumns);
  plan.column_tiles = CeilDiv(args.w.n, plan.tile_columns);
  return plan;
}

int64_t PrepareEach(const PrepareBlockRowsArgs& args) {
  return std::max<int64_t>(1, kPrepareBytes / 4 / args.k);
}

}  // namespace

bool BlockGemmTakes(BlockFormat format) {
  return IsHalf(format) || format >= BlockFormat::kQ8_0;
}

base::Result<BlockMatrix> BlockMatrixOf(const std::byte* data, BlockFormat format, int64_t n,
                                        int64_t k) {
  if (!BlockGemmTakes(format)) {
    return base::Unimplemented("no product takes weights in blocks of " +
                               std::string(tensor::BlockFormatName(format)));
  }
  if (n < 1 || k < 1) {
    return base::InvalidArgument("expected a weight of at least one row and column, it is [" +
                                 std::to_string(n) + ", " + std::to_string(k) + "]");
  }
  BlockMatrix w;
  w.data = data;
  w.row_bytes = TRY(tensor::BlockRowBytes(format, k));
  w.n = n;
  w.k = k;
  w.format = format;
  return w;
}

int64_t InterleavedBytes(const BlockMatrix& w) {
  return CeilDiv(w.n, kBlockPanel) * kBlockPanel * w.row_bytes;
}

BlockMatrix InterleaveBlocks(const BlockMatrix& w, std::byte* out) {
  CHECK(!IsHalf(w.format) && w.group == 0 && !w.interleaved);
  const int64_t bytes = tensor::BlockBytes(w.format);
  const int64_t blocks = w.row_bytes / bytes;
  BlockMatrix made = w;
  made.data = out;
  made.interleaved = true;
  for (int64_t panel = 0; panel < w.n; panel += kBlockPanel) {
    std::byte* const to = out + panel * w.row_bytes;
    if (w.n - panel < kBlockPanel)
      std::memset(to, 0, static_cast<size_t>(kBlockPanel * w.row_bytes));
    const int64_t rows = std::min(kBlockPanel, w.n - panel);
    for (int64_t block = 0; block < blocks; ++block) {
      for (int64_t row = 0; row < rows; ++row) {
        std::memcpy(to + (block * kBlockPanel + row) * bytes,
                    w.data + (panel + row) * w.row_bytes + block * bytes,
                    static_cast<size_t>(bytes));
      }
    }
  }
  return made;
}

int64_t PanelColumns(const BlockMatrix&) {
  return kBlockPanel;
}

BlockMatrix PanelOf(const BlockMatrix& w, int64_t index) {
  BlockMatrix panel = w;
  panel.n = std::min(kBlockPanel, w.n - index * kBlockPanel);
  panel.data += index * kBlockPanel * ColumnBytes(w);
  return panel;
}

int64_t BlockCodeStride(int64_t k) {
  const int64_t lines = CeilDiv(k, 64);
  return (lines + (lines % 2 == 0 ? 1 : 0)) * 64;
}

BlockRows RowsFrom(const BlockRows& rows, int64_t k, int64_t row) {
  BlockRows from = rows;
  from.codes += row * rows.code_stride;
  from.scales += row * (k / 32);
  from.sums += row * (k / 32);
  from.half_sums += row * (k / 16);
  from.code_sums += row * (k / 32);
  return from;
}

bool TakesBlockRows(const BlockMatrix& w) {
  return !IsHalf(w.format);
}

int64_t PrepareBlockRowsTiles(const PrepareBlockRowsArgs& args) {
  return CeilDiv(args.m, PrepareEach(args));
}

void PrepareBlockRows(const PrepareBlockRowsArgs& args, Tiles tiles) {
  CHECK(args.k >= 32 && args.k % 32 == 0);
  const int64_t each = PrepareEach(args);
  const int64_t begin = tiles.begin * each;
  const int64_t end = std::min(args.m, tiles.end * each);
  if (begin < end) SLUICE_PICK_ISA(ActiveTarget(), RunPrepareBlockRows)(args, begin, end);
}

Work PrepareBlockRowsWork(const PrepareBlockRowsArgs& args) {
  return {4 * args.m * args.k, args.m * (5 * args.k + args.k * 5 / 8)};
}

int64_t BlockGemmTiles(const BlockGemmArgs& args) {
  const Plan plan = PlanOf(args);
  return plan.row_tiles * plan.column_tiles;
}

void BlockGemm(const BlockGemmArgs& args, Tiles tiles) {
  CHECK(args.w.data != nullptr && args.w.k >= 1 && args.w.n >= 1);
  const Plan plan = PlanOf(args);
  const bool vnni = (LowFeatures() & kHasVnni) != 0;
  for (int64_t tile = tiles.begin; tile < tiles.end;) {
    const int64_t column = tile / plan.row_tiles, row = tile % plan.row_tiles;
    // Tiles of one row block that lie beside each other are one region.
    const int64_t columns = plan.row_tiles == 1 ? tiles.end - tile : 1;
    BlockRegion region;
    region.row_begin = row * plan.tile_rows;
    region.row_end = std::min(args.m, region.row_begin + plan.tile_rows);
    region.column_begin = column * plan.tile_columns;
    region.column_end = std::min(args.w.n, (column + columns) * plan.tile_columns);
    if (IsHalf(args.w.format)) {
      SLUICE_PICK_ISA(ActiveTarget(), RunBlockHalves)(args, region);
    } else {
      vnni ? vnni::RunBlocks(args, region) : avx2::RunBlocks(args, region);
    }
    tile += columns;
  }
}

Work BlockGemmWork(const BlockGemmArgs& args) {
  const int64_t residuals = args.residual != nullptr ? 1 : 0;
  const int64_t a_bytes = IsHalf(args.w.format) ? 4 * args.w.k : args.w.k * 3 / 2;
  return {2 * args.m * args.w.n * args.w.k, args.m * a_bytes + args.w.n * ColumnBytes(args.w) +
                                                4 * (1 + residuals) * args.m * args.w.n};
}

}  // namespace sluice::kernels

#include "kernels/cached_attention.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cached_attention.h"

namespace sluice::kernels {
namespace {

constexpr int64_t kWriteRows = 8;  // of a tile

// Rows of a tile: a function of the group alone, so that tiles are found by division.
int64_t TileRows(int64_t group) {
  return std::max<int64_t>(1, kCachedQueriesMax / 2 / group);
}

void CheckLayer(const CacheLayer& layer) {
  CHECK(layer.dim % 8 == 0 && layer.dim > 0 && layer.dim <= kCacheDimMax);
  CHECK(layer.type == tensor::DType::kF32 || layer.type == tensor::DType::kF16 ||
        layer.type == tensor::DType::kBF16);
}

}  // namespace

int64_t CacheLayerBytes(tensor::DType type, int64_t heads, int64_t dim) {
  return 2 * heads * dim * kCacheBlockRows * tensor::DTypeSize(type);
}

int64_t CacheWriteTiles(const CacheWriteArgs& args) {
  return (args.rows + kWriteRows - 1) / kWriteRows;
}

void CacheWrite(const CacheWriteArgs& args, Tiles tiles) {
  CheckLayer(args.layer);
  CHECK(args.turned % 2 == 0 && args.turned <= args.layer.dim);
  const int64_t end = std::min(args.rows, tiles.end * kWriteRows);
  SLUICE_PICK_ISA(ActiveTarget(), RunCacheWrite)(args, tiles.begin * kWriteRows, end);
}

Work CacheWriteWork(const CacheWriteArgs& args) {
  const int64_t keys = args.layer.heads * args.layer.dim;
  const int64_t elements = args.heads * args.layer.dim + keys;
  return {args.rows * elements * 3,
          args.rows * ((elements + keys) * 4 + 2 * keys * tensor::DTypeSize(args.layer.type))};
}

int64_t PlanCachedAttention(CachedRows* sequences, int64_t count, int64_t heads,
                            int64_t key_heads) {
  const int64_t rows = TileRows(heads / key_heads);
  int64_t tiles = 0;
  for (int64_t i = 0; i < count; ++i) {
    sequences[i].first_tile = tiles;
    tiles += (sequences[i].rows + rows - 1) / rows * key_heads;
  }
  return tiles;
}

int64_t CachedAttentionTiles(const CachedAttentionArgs& args) {
  return args.tiles;
}

void CachedAttention(const CachedAttentionArgs& args, Tiles tiles) {
  CheckLayer(args.layer);
  const int64_t group = args.heads / args.layer.heads;
  CHECK(group * args.layer.heads == args.heads && group <= kCacheGroupMax);
  const auto run = SLUICE_PICK_ISA(ActiveTarget(), RunCachedAttention);
  const int64_t rows = TileRows(group);
  const CachedRows* const end = args.sequences + args.sequence_count;
  for (int64_t t = tiles.begin; t < tiles.end; ++t) {
    const CachedRows* const sequence =
        std::upper_bound(args.sequences, end, t,
                         [](int64_t tile, const CachedRows& s) { return tile < s.first_tile; }) -
        1;
    // All tiles of a key head together: they read the same keys.
    const int64_t row_tiles = (sequence->rows + rows - 1) / rows;
    const int64_t within = t - sequence->first_tile;
    const int64_t begin = within % row_tiles * rows;
    run(args, {sequence, within / row_tiles, begin, std::min(sequence->rows, begin + rows)});
  }
}

Work CachedAttentionWork(const CachedAttentionArgs& args) {
  int64_t pairs = 0, keys = 0, rows = 0;
  for (int64_t i = 0; i < args.sequence_count; ++i) {
    const CachedRows& sequence = args.sequences[i];
    const int64_t last = sequence.position + sequence.rows;
    rows += sequence.rows;
    if (args.window > 0 && last > args.window) {
      const int64_t full = std::min(sequence.rows, last - args.window);
      pairs += full * args.window;
      const int64_t rest = sequence.rows - full;
      pairs += rest * (sequence.position + 1) + rest * (rest - 1) / 2;
      keys += std::min(last, args.window + sequence.rows);
    } else {
      pairs += sequence.rows * (sequence.position + 1) + sequence.rows * (sequence.rows - 1) / 2;
      keys += last;
    }
  }
  const int64_t dim = args.layer.dim;
  return {4 * args.heads * pairs * dim,
          8 * rows * args.heads * dim +
              2 * keys * args.layer.heads * dim * tensor::DTypeSize(args.layer.type)};
}

}  // namespace sluice::kernels

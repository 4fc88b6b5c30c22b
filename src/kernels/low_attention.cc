#include "kernels/low_attention.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/low_attention.h"
#include "kernels/cpu/low_gemm.h"

namespace sluice::kernels {
namespace {

bool HasRows(const LowAttentionArgs& args) {
  return args.rows.data != nullptr;
}

// A row of int8 has its range when all heads are there.
bool TakesAllHeads(const LowAttentionArgs& args) {
  return HasRows(args) && !TakesBrainRows(args.rows_path);
}

int64_t HeadTiles(const LowAttentionArgs& args) {
  return TakesAllHeads(args) ? 1 : args.heads.heads;
}

// Whole strips of 32 rows.
int64_t QueryTile(const LowAttentionArgs& args) {
  constexpr int64_t kTileProducts = int64_t{64} << 20;
  const AttentionArgs& heads = args.heads;
  const int64_t each = std::max<int64_t>(
      1, heads.keys * (heads.dim + heads.value_dim) * (TakesAllHeads(args) ? heads.heads : 1));
  return std::clamp<int64_t>(kTileProducts / each / kTilesRows * kTilesRows, kTilesRows,
                             kLowQueriesMax);
}

int64_t QueryTiles(const LowAttentionArgs& args) {
  const int64_t tile = QueryTile(args);
  return (args.heads.queries + tile - 1) / tile;
}

void RunTile(const LowAttentionArgs& args, int64_t index) {
  const AttentionArgs& heads = args.heads;
  const int64_t query_tile = QueryTile(args);
  const int64_t query_tiles = QueryTiles(args);
  const int64_t head_tiles = HeadTiles(args);
  LowAttentionTile tile;
  tile.sequence = index / (head_tiles * query_tiles);
  int64_t queries = heads.queries;
  tile.keys = heads.keys;
  tile.rows_first = tile.sequence * heads.queries;
  if (heads.sequence_starts != nullptr) {
    tile.first_row = tile.rows_first = heads.sequence_starts[tile.sequence];
    queries = heads.sequence_starts[tile.sequence + 1] - tile.first_row;
    tile.keys = queries;
  } else if (heads.key_lengths != nullptr) {
    tile.keys = heads.key_lengths[tile.sequence];
  }
  tile.query_begin = index % query_tiles * query_tile;
  tile.query_end = std::min(queries, tile.query_begin + query_tile);
  if (tile.query_begin >= tile.query_end) return;
  if (!TakesAllHeads(args)) {
    tile.head = index / query_tiles % head_tiles;
    return amx::RunLowAttention(args, tile);
  }
  for (tile.head = 0; tile.head < heads.heads; ++tile.head) amx::RunLowAttention(args, tile);
  PrepareRowsArgs prepare;
  prepare.m = tile.query_end - tile.query_begin;
  prepare.k = heads.heads * heads.value_dim;
  prepare.a_stride = heads.out_row;
  const bool ragged = heads.sequence_starts != nullptr;
  prepare.a = heads.out +
              (ragged ? tile.first_row * heads.out_row : tile.sequence * heads.out_batch) +
              tile.query_begin * heads.out_row;
  const int64_t row = tile.rows_first + tile.query_begin;
  prepare.rows = {args.rows.data + row * args.rows.stride, args.rows.stride, args.rows.scales + row,
                  args.rows.zeros + row};
  prepare.path = args.rows_path;
  avx512::RunPrepareRows(prepare, 0, prepare.m);
}

}  // namespace

bool HasLowAttention() {
  return (LowFeatures() & kHasBF16Tiles) != 0;
}

bool LowAttentionTakes(int64_t dim, int64_t value_dim) {
  const auto fits = [](int64_t size) {
    return size >= 32 && size % 32 == 0 && size <= kLowHeadMax;
  };
  return fits(dim) && fits(value_dim);
}

int64_t LowAttentionTiles(const LowAttentionArgs& args) {
  return args.heads.batch * HeadTiles(args) * QueryTiles(args);
}

void LowAttention(const LowAttentionArgs& args, Tiles tiles) {
  const AttentionArgs& heads = args.heads;
  CHECK(LowAttentionTakes(heads.dim, heads.value_dim));
  CHECK(heads.relative[0].reach == 0);
  CHECK(heads.sequence_starts == nullptr ||
        (heads.mask == nullptr && heads.key_lengths == nullptr && heads.queries == heads.keys));
  for (int64_t t = tiles.begin; t < tiles.end; ++t) RunTile(args, t);
}

Work LowAttentionWork(const LowAttentionArgs& args) {
  Work work = AttentionWork(args.heads);
  work.bytes /= 2;
  return work;
}

}  // namespace sluice::kernels

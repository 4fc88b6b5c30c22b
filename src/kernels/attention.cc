#include "kernels/attention.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/attention.h"
#include "kernels/plan/attention_plan.h"
#include "kernels/plan/gemm_plan.h"
#include "kernels/target.h"

namespace sluice::kernels {
namespace {

int64_t QueryTile(const AttentionArgs& args) {
  return AttentionQueryTile(args.queries, args.keys, args.dim, args.value_dim);
}

int64_t QueryTiles(const AttentionArgs& args) {
  const int64_t tile = QueryTile(args);
  return (args.queries + tile - 1) / tile;
}

// Tiles t … t + together - 1, all of one head, as one.
AttentionTile FindTile(const AttentionArgs& args, int64_t t, int64_t together) {
  const int64_t query_tile = QueryTile(args);
  const int64_t query_tiles = QueryTiles(args);
  AttentionTile tile = {};
  tile.key_block = AttentionKeyBlock(args.dim, args.value_dim);
  // The rest of L2 holds what this sequence still needs of its own.
  tile.fetched_bytes_max = MachineCaches().l2_bytes / 4 * 3;
  tile.sequence = t / (args.heads * query_tiles);
  tile.head = t / query_tiles % args.heads;
  int64_t queries = args.queries;
  tile.keys = args.keys;
  if (args.sequence_starts != nullptr) {
    tile.first_row = args.sequence_starts[tile.sequence];
    queries = args.sequence_starts[tile.sequence + 1] - tile.first_row;
    tile.keys = queries;
  } else if (args.key_lengths != nullptr) {
    tile.keys = args.key_lengths[tile.sequence];
  }
  const int64_t within = t % query_tiles;
  tile.query_begin = std::min(queries, within * query_tile);
  tile.query_end = std::min(queries, (within + together) * query_tile);
  return tile;
}

}  // namespace

int64_t AttentionTiles(const AttentionArgs& args) {
  return args.batch * args.heads * QueryTiles(args);
}

void Attention(const AttentionArgs& args, Tiles tiles) {
  CHECK(args.dim >= 1 && args.value_dim >= 1);
  CHECK(args.sequence_starts == nullptr ||
        (args.mask == nullptr && args.key_lengths == nullptr && args.queries == args.keys));
  CHECK(args.relative[0].rows == nullptr || args.sequence_starts != nullptr);
  const auto run = SLUICE_PICK_ISA(ActiveTarget(), RunAttention);
  const int64_t query_tile = QueryTile(args);
  const int64_t query_tiles = QueryTiles(args);
  for (int64_t t = tiles.begin; t < tiles.end;) {
    // Neighbouring tiles of a head run as one, sharing its packed keys and values.
    const int64_t together = std::min({tiles.end - t, query_tiles - t % query_tiles,
                                       std::max<int64_t>(1, kQueriesMax / query_tile)});
    const AttentionTile tile = FindTile(args, t, together);
    t += together;
    if (tile.query_begin < tile.query_end) run(args, tile);
  }
}

Work AttentionWork(const AttentionArgs& args) {
  int64_t pairs = 0;   // of query and key
  int64_t tokens = 0;  // rows of q and of k
  for (int64_t b = 0; b < args.batch; ++b) {
    int64_t queries = args.queries, keys = args.keys;
    if (args.sequence_starts != nullptr) {
      queries = keys = args.sequence_starts[b + 1] - args.sequence_starts[b];
    } else if (args.key_lengths != nullptr) {
      keys = args.key_lengths[b];
    }
    pairs += queries * keys;
    tokens += queries + keys;
  }
  const int64_t dims = args.dim + args.value_dim;
  return {2 * args.heads * pairs * dims,
          args.heads * tokens * dims * static_cast<int64_t>(sizeof(float))};
}

}  // namespace sluice::kernels

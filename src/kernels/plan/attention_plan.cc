#include "kernels/plan/attention_plan.h"

#include <algorithm>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/blocks.h"

namespace sluice::kernels {

int64_t AttentionKeyBlock(int64_t dim, int64_t value_dim) {
  const int64_t widest = std::min(std::max(dim, value_dim), kHeadChunk);
  const int64_t padded = (widest + 31) / 32 * 32;
  return std::clamp<int64_t>(kHeadBlock / padded / 32 * 32, 32, kStripDepth);
}

int64_t AttentionQueryTile(int64_t queries, int64_t keys, int64_t dim, int64_t value_dim) {
  constexpr int64_t kTileProducts = int64_t{16} << 20;
  constexpr int64_t kQueriesMin = 32;
  const int64_t products = std::max<int64_t>(1, keys * (dim + value_dim));
  const int64_t most = std::clamp<int64_t>(kTileProducts / products, kQueriesMin, kQueriesMax);
  const int64_t tiles = std::max<int64_t>(1, (queries + most - 1) / most);
  return std::max<int64_t>(1, (queries + tiles - 1) / tiles);
}

}  // namespace sluice::kernels

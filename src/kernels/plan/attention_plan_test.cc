#include "kernels/plan/attention_plan.h"

#include <gtest/gtest.h>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/blocks.h"

namespace sluice::kernels {
namespace {

TEST(AttentionPlan, ABlockOfKeysAndOneOfValuesFitTheirBuffers) {
  for (int64_t dim = 1; dim <= 600; ++dim) {
    for (const int64_t value_dim : {int64_t{1}, dim, int64_t{300}}) {
      const int64_t keys = AttentionKeyBlock(dim, value_dim);
      EXPECT_EQ(keys % 32, 0);
      EXPECT_LE(keys, kStripDepth);
      const int64_t widest = std::min(std::max(dim, value_dim), kHeadChunk);
      EXPECT_LE(keys * ((widest + 31) / 32 * 32), kHeadBlock);
    }
  }
}

TEST(AttentionPlan, TilesAreNotLongerThanTheRunningStateAndShareTheQueriesEvenly) {
  for (const int64_t queries : {1, 7, 128, 256, 257, 1000, 4096}) {
    for (const int64_t keys : {1, 128, 4096}) {
      const int64_t tile = AttentionQueryTile(queries, keys, 64, 64);
      EXPECT_GE(tile, 1);
      EXPECT_LE(tile, kQueriesMax);
      EXPECT_LE((queries + tile - 1) / tile * tile - queries, tile - 1);
    }
  }
}

TEST(AttentionPlan, ALongSequenceIsCutIntoTilesBelowAQuantum) {
  const int64_t tile = AttentionQueryTile(4096, 4096, 64, 64);
  EXPECT_LE(2 * tile * 4096 * 128, 44'000'000);
}

}  // namespace
}  // namespace sluice::kernels

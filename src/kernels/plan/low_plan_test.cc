#include "kernels/plan/low_plan.h"

#include <gtest/gtest.h>

namespace sluice::kernels {
namespace {

constexpr CacheSizes kCaches = {48 << 10, 2 << 20};

LowPlanInput BytesOf(int64_t m, int64_t n, int64_t k) {
  return {.m = m,
          .n = n,
          .row_bytes = k,
          .column_bytes = k,
          .width = 32,
          .strip = 14,
          .products_max = int64_t{72} << 20,
          .k = k};
}

TEST(LowPlan, TilesCoverEveryColumnOnceInWholePanels) {
  for (const int64_t m : {1, 7, 64, 65, 512}) {
    for (const int64_t n : {1, 31, 33, 1152, 9728, 151'936}) {
      for (const int64_t k : {4, 896, 4864, 300'000}) {
        const GemmPlan plan = PlanLow(BytesOf(m, n, k), kCaches);
        EXPECT_EQ(plan.tile_columns % 32, 0);
        EXPECT_GE(plan.column_tiles * plan.tile_columns, n);
        EXPECT_LT((plan.column_tiles - 1) * plan.tile_columns, n);
        EXPECT_GE(plan.row_tiles * plan.tile_rows, m);
      }
    }
  }
}

TEST(LowPlan, ASmallLayerOfOneRowHasTilesForSeveralLanes) {
  // Queries, keys and values, and the way back, of a decoder of width 896.
  EXPECT_GE(PlanLow(BytesOf(1, 1152, 896), kCaches).column_tiles, 8);
  EXPECT_GE(PlanLow(BytesOf(16, 896, 896), kCaches).column_tiles, 6);
}

TEST(LowPlan, ATileOfFewRowsReadsLittleOfTheMatrix) {
  for (const int64_t m : {1, 16, 64}) {
    const GemmPlan plan = PlanLow(BytesOf(m, 151'936, 896), kCaches);
    EXPECT_LE(plan.tile_columns * 896, 32 << 10) << m;
  }
}

}  // namespace
}  // namespace sluice::kernels

#include "kernels/plan/gemm_plan.h"

#include <gtest/gtest.h>

#include "kernels/cpu/blocks.h"

namespace sluice::kernels {
namespace {

constexpr CacheSizes kZen3 = {32 << 10, 512 << 10};
constexpr CacheSizes kLarge = {48 << 10, 2 << 20};
constexpr int64_t kSizes[] = {1, 2, 7, 16, 31, 33, 128, 384, 500, 1152, 3072, 8192};

TEST(GemmPlan, TilesCoverEveryElementOnceInWholePanels) {
  for (const Target target : {Target::kAvx2, Target::kAvx512}) {
    for (const CacheSizes& caches : {kZen3, kLarge}) {
      for (const int64_t m : kSizes) {
        for (const int64_t n : kSizes) {
          for (const int64_t k : kSizes) {
            for (const auto& make : {PlanGemm, PlanLargeGemm}) {
              const GemmPlan plan = make(m, n, k, target, caches);
              EXPECT_EQ(plan.tile_columns % PanelColumns(target), 0);
              EXPECT_GE(plan.row_tiles * plan.tile_rows, m);
              EXPECT_LT((plan.row_tiles - 1) * plan.tile_rows, m);
              EXPECT_GE(plan.column_tiles * plan.tile_columns, n);
              EXPECT_LT((plan.column_tiles - 1) * plan.tile_columns, n);
            }
          }
        }
      }
    }
  }
}

TEST(GemmPlan, TheRowsOfATileFitHalfOfTheSecondCache) {
  for (const Target target : {Target::kAvx2, Target::kAvx512}) {
    for (const CacheSizes& caches : {kZen3, kLarge}) {
      for (const int64_t k : kSizes) {
        const GemmPlan plan = PlanGemm(512, 3072, k, target, caches);
        EXPECT_LE(plan.block_depth * plan.tile_rows * 4, caches.l2_bytes / 2);
      }
    }
  }
}

TEST(GemmPlan, TheBlockOfBOfManyRowsFitsHalfOfTheSecondCache) {
  for (const Target target : {Target::kAvx2, Target::kAvx512}) {
    for (const CacheSizes& caches : {kZen3, kLarge}) {
      for (const int64_t n : kSizes) {
        for (const int64_t k : kSizes) {
          const GemmPlan plan = PlanLargeGemm(2048, n, k, target, caches);
          EXPECT_TRUE(plan.keeps_b);
          EXPECT_LE(plan.block_depth * plan.tile_columns * 4, caches.l2_bytes / 2);
        }
      }
    }
  }
}

TEST(GemmPlan, FewRowsDoNotKeepB) {
  EXPECT_FALSE(PlanLargeGemm(128, 1152, 384, Target::kAvx512, kLarge).keeps_b);
  EXPECT_FALSE(PlanLargeGemm(128, 1152, 384, Target::kAvx2, kZen3).keeps_b);
}

TEST(GemmPlan, OneStripIsNeverCutAlongK) {
  EXPECT_EQ(PlanGemm(1, 1024, 30000, Target::kAvx512, kLarge).block_depth, 30000);
  EXPECT_EQ(PlanGemm(14, 1024, 30000, Target::kAvx512, kLarge).block_depth, 30000);
  EXPECT_LT(PlanGemm(15, 1024, 30000, Target::kAvx512, kLarge).block_depth, 30000);
}

TEST(GemmPlan, NoTileOfALargeProductCostsMoreThanAQuantum) {
  for (const auto& make : {PlanGemm, PlanLargeGemm}) {
    for (const int64_t k : {384, 768, 1536, 3072}) {
      const GemmPlan plan = make(2048, 3072, k, Target::kAvx2, kZen3);
      // 44 million flops are half a millisecond at 90 GFLOP/s, a Zen 3 core's rate.
      EXPECT_LE(2 * plan.tile_rows * plan.tile_columns * k, 44'000'000) << k;
    }
  }
}

TEST(GemmPlan, ASmallProductIsOneTile) {
  const GemmPlan plan = PlanGemm(16, 128, 256, Target::kAvx2, kZen3);
  EXPECT_EQ(plan.row_tiles * plan.column_tiles, 1);
}

TEST(GemmPlan, ALargeProductOfOneRowHasTilesForSeveralLanes) {
  const GemmPlan plan = PlanGemm(1, 9728, 896, Target::kAvx512, kLarge);
  EXPECT_GE(plan.column_tiles, 32);
}

TEST(GemmPlan, NoRowsMeanNoTiles) {
  const GemmPlan plan = PlanGemm(0, 128, 256, Target::kAvx2, kZen3);
  EXPECT_EQ(plan.row_tiles * plan.column_tiles, 0);
}

TEST(MatMulPlan, TheBlockOfBFitsItsBufferOnTheStack) {
  for (const Target target : {Target::kAvx2, Target::kAvx512}) {
    for (const int64_t n : kSizes) {
      for (const int64_t k : kSizes) {
        const GemmPlan plan = PlanMatMul(64, n, k, target);
        EXPECT_LE(plan.block_depth, kStackDepth);
        EXPECT_LE(plan.block_depth * plan.block_columns, kStackBlock);
        EXPECT_GT(plan.block_columns, 0);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::kernels

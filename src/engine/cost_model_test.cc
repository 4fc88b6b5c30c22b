#include "engine/cost_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace sluice::engine {
namespace {

using base::Duration;
using base::Time;

constexpr Time kStart{5'000'000'000};

Duration TenMicrosARow(uint64_t, int64_t rows) {
  return Duration::Micros(10 * rows);
}

TEST(CostModel, AnUnmeasuredShapeHasItsPrior) {
  CostModel model(TenMicrosARow);
  const Cost cost = model.Predict(1, 4);
  EXPECT_EQ(cost.predicted, Duration::Micros(40));
  EXPECT_FALSE(cost.measured);
  EXPECT_EQ(cost.rows, 4);
}

TEST(CostModel, TheFirstSampleIsColdAndCountsAsNoMeasurement) {
  CostModel model(TenMicrosARow);
  model.Record(1, 4, Duration::Millis(50), kStart);
  EXPECT_FALSE(model.Predict(1, 4).measured);
  model.Record(1, 4, Duration::Millis(1), kStart);
  EXPECT_TRUE(model.Predict(1, 4).measured);
  EXPECT_EQ(model.Predict(1, 4).predicted, Duration::Millis(1));
}

TEST(CostModel, FollowsAHighQuantile) {
  CostModel model(TenMicrosARow);
  std::mt19937 random(7);
  Time now = kStart;
  std::vector<int64_t> samples;
  int above = 0;
  constexpr int kSamples = 20'000;
  for (int i = 0; i < kSamples; ++i) {
    const Duration sample{100'000 + static_cast<int64_t>(random() % 100'000)};
    if (i > 1000 && sample > model.Predict(1, 1).predicted) ++above;
    model.Record(1, 1, sample, now);
    now = now + Duration::Micros(10);
  }
  // Uniform in [100, 200] us: about one in twenty lies above the estimate.
  EXPECT_GT(above, kSamples / 60);
  EXPECT_LT(above, kSamples / 8);
}

TEST(CostModel, FollowsAJumpUpWithinTensOfSamples) {
  CostModel model(TenMicrosARow);
  for (int i = 0; i < 100; ++i) model.Record(1, 1, Duration::Micros(100), kStart);
  for (int i = 0; i < 20; ++i) model.Record(1, 1, Duration::Millis(1), kStart);
  EXPECT_EQ(model.Predict(1, 1).predicted, Duration::Millis(1));
}

TEST(CostModel, RareProbesForgetABadTime) {
  CostModel model(TenMicrosARow);
  for (int i = 0; i < 10; ++i) model.Record(1, 1, Duration::Seconds(1), kStart);
  for (int i = 1; i <= 10; ++i) {
    model.Record(1, 1, Duration::Millis(1), kStart + Duration::Seconds(i));
  }
  EXPECT_LT(model.Predict(1, 1).predicted, Duration::Millis(4));
}

TEST(CostModel, ScalesThePriorOfOtherShapesByWhatWasMeasured) {
  CostModel model(TenMicrosARow);
  for (int i = 0; i < 100; ++i) model.Record(1, 1, Duration::Micros(30), kStart);
  const Cost other = model.Predict(2, 10);
  EXPECT_FALSE(other.measured);
  EXPECT_NEAR(other.predicted.us(), 300, 5);
}

TEST(CostModel, RowBucketsAreExactThenFourAnOctave) {
  for (int64_t rows = 1; rows <= 8; ++rows) EXPECT_EQ(CostModel::RowBucket(rows), rows);
  EXPECT_EQ(CostModel::RowBucket(9), 10);
  EXPECT_EQ(CostModel::RowBucket(16), 16);
  EXPECT_EQ(CostModel::RowBucket(17), 20);
  EXPECT_EQ(CostModel::RowBucket(33), 40);
}

TEST(CostModel, MoreShapesThanBucketsForgetOldOnesOnly) {
  CostModel model(TenMicrosARow);
  Time now = kStart;
  for (uint64_t shape = 0; shape < 10'000; ++shape) {
    for (int i = 0; i < 2; ++i) model.Record(shape, 1, Duration::Millis(1), now);
    now = now + Duration::Micros(1);
    ASSERT_TRUE(model.Predict(shape, 1).measured);
  }
}

TEST(CostModel, GivesOneProbeASecond) {
  CostModel model(TenMicrosARow);
  EXPECT_TRUE(model.TakeProbe(kStart));
  EXPECT_FALSE(model.TakeProbe(kStart + Duration::Millis(999)));
  EXPECT_TRUE(model.TakeProbe(kStart + Duration::Millis(1000)));
}

}  // namespace
}  // namespace sluice::engine

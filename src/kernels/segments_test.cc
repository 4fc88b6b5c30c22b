#include "kernels/segments.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace sluice::kernels {
namespace {

constexpr std::array<int32_t, 6> kStarts = {0, 3, 3, 4, 130, 137};
constexpr int64_t kSegments = 5, kRows = 140, kColumns = 71;
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> Random(int64_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<float> Reduce(SegmentMode mode, const std::vector<float>& x, bool tile_by_tile) {
  std::vector<float> y(kSegments * kColumns, 99);
  const SegmentReduceArgs args = {.mode = mode,
                                  .segments = kSegments,
                                  .rows = kRows,
                                  .columns = kColumns,
                                  .starts = kStarts.data(),
                                  .x = x.data(),
                                  .y = y.data()};
  const int64_t tiles = SegmentReduceTiles(args);
  for (int64_t t = tiles; tile_by_tile && t-- > 0;) SegmentReduce(args, {t, t + 1});
  if (!tile_by_tile) SegmentReduce(args, {0, tiles});
  return y;
}

TEST(SegmentReduceTest, SumsMaximaAndFirstRowsAreThoseOfEachSegmentAlone) {
  const std::vector<float> x = Random(kRows * kColumns);
  const std::vector<float> sums = Reduce(SegmentMode::kSum, x, false);
  const std::vector<float> maxima = Reduce(SegmentMode::kMax, x, false);
  const std::vector<float> first = Reduce(SegmentMode::kFirst, x, false);
  for (size_t s = 0; s < kSegments; ++s) {
    for (size_t c = 0; c < kColumns; ++c) {
      double sum = 0, magnitude = 0;
      float maximum = -kInf;
      for (auto row = static_cast<size_t>(kStarts[s]); row < static_cast<size_t>(kStarts[s + 1]);
           ++row) {
        const float value = x[row * kColumns + c];
        sum += static_cast<double>(value);
        magnitude += std::abs(static_cast<double>(value));
        maximum = std::max(maximum, value);
      }
      const size_t at = s * kColumns + c;
      const bool empty = kStarts[s] == kStarts[s + 1];
      EXPECT_NEAR(sums[at], sum, 1e-6 * magnitude) << s << " " << c;
      EXPECT_EQ(maxima[at], maximum) << s << " " << c;
      EXPECT_EQ(first[at], empty ? 0 : x[static_cast<size_t>(kStarts[s]) * kColumns + c]);
    }
  }
}

TEST(SegmentReduceTest, TilesInAnyOrderGiveTheSameBits) {
  const std::vector<float> x = Random(kRows * kColumns);
  for (const SegmentMode mode : {SegmentMode::kSum, SegmentMode::kMax, SegmentMode::kFirst}) {
    EXPECT_EQ(Reduce(mode, x, true), Reduce(mode, x, false));
  }
}

TEST(SegmentReduceTest, ANanStaysInItsSegment) {
  std::vector<float> x = Random(kRows * kColumns);
  x[50 * kColumns + 2] = NAN;  // of the segment of rows 4 to 130
  for (const SegmentMode mode : {SegmentMode::kSum, SegmentMode::kMax}) {
    const std::vector<float> y = Reduce(mode, x, false);
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i == 3 * kColumns + 2) << i;
  }
}

TEST(SegmentLengthsTest, LengthsAreRowsOfEachSegmentInEitherType) {
  std::array<int64_t, kSegments> wide = {};
  std::array<float, kSegments> floats = {};
  SegmentLengths(
      {.segments = kSegments, .integer = true, .starts = kStarts.data(), .y = wide.data()});
  SegmentLengths(
      {.segments = kSegments, .integer = false, .starts = kStarts.data(), .y = floats.data()});
  EXPECT_EQ(wide, (std::array<int64_t, kSegments>{3, 0, 1, 126, 7}));
  EXPECT_EQ(floats, (std::array<float, kSegments>{3, 0, 1, 126, 7}));
}

template <class T>
void CheckSums() {
  std::vector<T> x(kRows), y(kRows, 99);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i % 5);
  SegmentSums({.segments = kSegments,
               .rows = kRows,
               .wide = sizeof(T) == 8,
               .starts = kStarts.data(),
               .x = x.data(),
               .y = y.data()});
  for (size_t s = 0; s < kSegments; ++s) {
    T sum = 0;
    for (auto row = static_cast<size_t>(kStarts[s]); row < static_cast<size_t>(kStarts[s + 1]);
         ++row) {
      sum = static_cast<T>(sum + x[row]);
      EXPECT_EQ(y[row], sum) << row;
    }
  }
  for (size_t row = 137; row < kRows; ++row) EXPECT_EQ(y[row], 0) << row;
}

TEST(SegmentSumsTest, RunningSumsBeginAnewWithEachSegment) {
  CheckSums<int64_t>();
  CheckSums<int32_t>();
}

}  // namespace
}  // namespace sluice::kernels

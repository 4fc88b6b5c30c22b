#include "kernels/logit_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/target.h"

namespace sluice::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> Random(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

// On every target that there is.
class LogitRowsTest : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override { SetTargetForTesting(GetParam()); }
  void TearDown() override { SetTargetForTesting(before_); }

 private:
  Target before_ = ActiveTarget();
};

TEST_P(LogitRowsTest, FindsTheFirstOfTheHighest) {
  for (const size_t n : {1u, 7u, 16u, 17u, 64u, 1000u, 151'936u}) {
    std::vector<float> x = Random(n, 1);
    const auto want = std::max_element(x.begin(), x.end());
    const LogitMaximum got = FindLogitMaximum(x.data(), static_cast<int64_t>(n));
    EXPECT_EQ(got.value, *want);
    EXPECT_EQ(got.index, want - x.begin());
    x.back() = x.front() = 100;
    EXPECT_EQ(FindLogitMaximum(x.data(), static_cast<int64_t>(n)).index, 0);
  }
}

TEST_P(LogitRowsTest, PassesOverNaN) {
  std::vector<float> x = Random(100, 2);
  x[3] = x[40] = x[99] = kNaN;
  x[77] = 50;
  EXPECT_EQ(FindLogitMaximum(x.data(), 100).index, 77);
  const std::vector<float> all(20, kNaN);
  EXPECT_TRUE(std::isnan(FindLogitMaximum(all.data(), 20).value));
  const std::vector<float> low(20, -kInf);
  EXPECT_EQ(FindLogitMaximum(low.data(), 20).index, 0);
}

TEST_P(LogitRowsTest, SumsExponentialsBlockByBlock) {
  for (const size_t n : {1u, 31u, 4096u, 4097u, 32'000u}) {
    std::vector<float> x = Random(n, 3);
    const float shift = *std::max_element(x.begin(), x.end());
    x[n / 2] = kNaN;
    x[n / 3] = -kInf;
    std::vector<float> sums((n + kLogitBlock - 1) / kLogitBlock, -1.0f);
    SumLogitExps(x.data(), static_cast<int64_t>(n), shift, 0.7f, sums.data());
    std::vector<float> terms(n);
    LogitExps(x.data(), static_cast<int64_t>(n), shift, 0.7f, terms.data());
    for (size_t b = 0; b < sums.size(); ++b) {
      double want = 0;
      for (size_t i = b * kLogitBlock; i < std::min(n, (b + 1) * kLogitBlock); ++i) {
        const double exponent = std::isnan(x[i]) ? -INFINITY : (double{x[i]} - shift) * 0.7f;
        const double term = std::exp(exponent);
        // The exponent is rounded to f32 before.
        if (term > 0) {
          EXPECT_NEAR(terms[i], term, (3e-7 - 2e-7 * exponent) * term + 1e-37);
        }
        want += term;
      }
      EXPECT_NEAR(sums[b], want, 2e-6 * want);
    }
  }
}

TEST_P(LogitRowsTest, CapsByAHyperbolicTangent) {
  const std::vector<float> x = Random(1003, 4);
  std::vector<float> y = x;
  CapLogits(y.data(), 1003, 5);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], 5 * std::tanh(x[i] / 5.0), 4e-6);
}

TEST_P(LogitRowsTest, CollectsWhatIsAtOrAboveTheThreshold) {
  const std::vector<float> x = {1, 5, kNaN, 5, 4.9f, 7, -1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6};
  std::vector<int32_t> indices(10, -1);
  EXPECT_EQ(CollectLogits(x.data(), static_cast<int64_t>(x.size()), 5, indices.data(), 10), 5);
  indices.resize(5);
  EXPECT_EQ(indices, (std::vector<int32_t>{1, 3, 5, 7, 18}));
  std::vector<int32_t> few(2, -1);
  EXPECT_EQ(CollectLogits(x.data(), static_cast<int64_t>(x.size()), 5, few.data(), 1), 5);
  EXPECT_EQ(few, (std::vector<int32_t>{1, -1}));
}

INSTANTIATE_TEST_SUITE_P(Targets, LogitRowsTest,
                         testing::ValuesIn(AvailableTargets().begin(), AvailableTargets().end()),
                         [](const auto& target) { return std::string(TargetName(target.param)); });

}  // namespace
}  // namespace sluice::kernels

#include "bin/divergence.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sluice::bin {
namespace {

TEST(Divergence, IsThatOfTheProbabilities) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2), each with a shift of its own.
  const std::vector<float> p = {std::log(2.0f) + 5, 5, 5};
  const std::vector<float> q = {-90, -90, -90 + std::log(2.0f)};
  EXPECT_NEAR(Divergence(Expect(p), Expect(q)), 0.25 * std::log(2.0), 1e-5);
  EXPECT_NEAR(Expect(p).logprob(0), std::log(0.5), 1e-6);
  EXPECT_EQ(Expect(p).best, 0);
  EXPECT_EQ(Expect(q).best, 2);
}

TEST(Divergence, LargeLogitsDoNotOverflow) {
  const std::vector<float> p = {3e4f, 0}, q = {3e4f, 2.9e4f};
  EXPECT_EQ(Divergence(Expect(p), Expect(q)), 0);
  EXPECT_EQ(Expect(p).logprob(0), 0);
}

TEST(Divergence, PositionIsScoredAgainstTheTextAndTheReference) {
  const std::vector<float> p = {1, 2, 0}, same = p, q = {2, 1, 0};
  const Expectation reference = Expect(p);
  const PositionScore equal = ScorePosition(reference, same, 0);
  EXPECT_EQ(equal.divergence, 0);
  EXPECT_TRUE(equal.agrees);
  EXPECT_DOUBLE_EQ(equal.surprise, ScorePosition(reference, p, 0).surprise);
  const PositionScore other = ScorePosition(reference, q, 0);
  EXPECT_GT(other.divergence, 0);
  EXPECT_FALSE(other.agrees);
  EXPECT_NEAR(other.surprise, equal.surprise - 1, 1e-6);
}

TEST(Divergence, PositionsAreSummarised) {
  std::vector<PositionScore> positions(200, {std::log(4.0), 0.5, true});
  positions[7] = {std::log(4.0), 9, false};
  const TextScore score = Summarise(positions);
  EXPECT_EQ(score.positions, 200);
  EXPECT_NEAR(score.perplexity, 4, 1e-12);
  EXPECT_NEAR(score.divergence_mean, (199 * 0.5 + 9) / 200, 1e-12);
  EXPECT_EQ(score.divergence_99, 0.5);
  EXPECT_EQ(score.divergence_max, 9);
  EXPECT_EQ(score.agreement, 199.0 / 200);
  EXPECT_EQ(Summarise({}).positions, 0);
}

}  // namespace
}  // namespace sluice::bin

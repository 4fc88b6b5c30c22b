#include "bin/answer_change.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace sluice::bin {
namespace {

TEST(AnswerChange, AreaUnderCurveCountsPairsAndHalvesTies) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> score(0, 9), label(0, 1);
  std::vector<float> scores, labels;
  for (int i = 0; i < 200; ++i) {
    scores.push_back(static_cast<float>(score(random)));
    labels.push_back(static_cast<float>(label(random)));
  }
  double wins = 0, pairs = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    for (size_t j = 0; j < scores.size(); ++j) {
      if (labels[i] < 0.5f || labels[j] > 0.5f) continue;
      pairs += 1;
      wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  }
  const auto area = AreaUnderCurve(scores, labels);
  ASSERT_TRUE(area.has_value());
  EXPECT_NEAR(*area, wins / pairs, 1e-12);
}

TEST(AnswerChange, AreaUnderCurveIsNothingWhenLabelsAreAlikeOrAScoreIsNan) {
  EXPECT_FALSE(AreaUnderCurve(std::vector<float>{1, 2}, std::vector<float>{1, 1}).has_value());
  EXPECT_FALSE(AreaUnderCurve(std::vector<float>{1, NAN}, std::vector<float>{1, 0}).has_value());
}

TEST(AnswerChange, TellsTheLeastCosineTheWorstRowAndTheLargestError) {
  const Answers before{{{1, 0, 0, 4}}, {2}};
  const Answers after{{{0, 1, 0, 4}}, {2}};
  const AnswerChange change = Compare(before, after, {});
  EXPECT_NEAR(change.cosine, 16.0 / 17.0, 1e-12);
  EXPECT_NEAR(change.cosine_row, 0, 1e-12);
  EXPECT_NEAR(change.error_max, 0.25, 1e-12);
  EXPECT_FALSE(change.auc_before.has_value());
}

TEST(AnswerChange, AnAnswerThatIsNoNumberIsAllWrong) {
  const AnswerChange change = Compare({{{1, 2}}, {2}}, {{{1, NAN}}, {2}}, {});
  EXPECT_EQ(change.cosine, 0);
  EXPECT_TRUE(std::isinf(change.error_max));
}

TEST(AnswerChange, ComparesTheLastColumnWithTheLabels) {
  const std::vector<float> labels = {0, 1};
  const AnswerChange change = Compare({{{9, 1, 0, 2}}, {2}}, {{{9, 2, 0, 1}}, {2}}, labels);
  EXPECT_EQ(change.auc_before, 1.0);
  EXPECT_EQ(change.auc_after, 0.0);
}

}  // namespace
}  // namespace sluice::bin

#include "lm/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

namespace sluice::lm {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// The distribution that the parameters describe, in double, by the definition of each step.
std::vector<double> Expected(std::vector<float> logits, const SamplingParameters& p) {
  std::vector<std::pair<double, size_t>> order;
  for (size_t i = 0; i < logits.size(); ++i) order.emplace_back(-double{logits[i]}, i);
  std::sort(order.begin(), order.end());
  std::vector<double> weights(logits.size());
  for (const auto& [negative, i] : order) {
    weights[i] = std::exp((-negative + order[0].first) / p.temperature);
    if (weights[i] < p.min_p) weights[i] = 0;
  }
  for (size_t rank = p.top_k == 0 ? order.size() : static_cast<size_t>(p.top_k);
       rank < order.size(); ++rank) {
    weights[order[rank].second] = 0;
  }
  const double mass = std::accumulate(weights.begin(), weights.end(), 0.0);
  double reached = 0;
  for (const auto& [negative, i] : order) {
    if (reached >= p.top_p * mass) weights[i] = 0;
    reached += weights[i];
  }
  const double left = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& w : weights) w /= left;
  return weights;
}

// Draws at many positions; the frequencies must be those of `want`.
void ExpectFrequencies(const std::vector<float>& logits, const SamplingParameters& parameters,
                       const std::vector<double>& want) {
  constexpr int kDraws = 40'000;
  std::vector<int> seen(logits.size());
  Sampler sampler;
  Sample sample;
  for (int position = 0; position < kDraws; ++position) {
    std::vector<float> row = logits;
    sampler.Draw(row, parameters, {}, position, sample);
    ++seen[static_cast<size_t>(sample.token)];
  }
  for (size_t i = 0; i < want.size(); ++i) {
    // Five standard deviations of a binomial count.
    const double mean = kDraws * want[i];
    EXPECT_NEAR(seen[i], mean, 5 * std::sqrt(mean * (1 - want[i])) + 1e-9) << "token " << i;
  }
}

TEST(Sampler, TakesTheHighestLogitAtTemperatureZero) {
  std::vector<float> logits = RandomLogits(1000, 1);
  logits[700] = logits[300] = 50;
  Sampler sampler;
  Sample sample;
  sampler.Draw(logits, {.temperature = 0}, {}, 0, sample);
  EXPECT_EQ(sample.token, 300);
}

TEST(Sampler, DrawsFromTheWholeDistribution) {
  const std::vector<float> logits = RandomLogits(40, 2);
  const SamplingParameters parameters{.temperature = 1.3f, .seed = 5};
  ExpectFrequencies(logits, parameters, Expected(logits, parameters));
}

TEST(Sampler, DrawsFromRowsOfManyBlocks) {
  // All of the mass in a few tokens of different blocks.
  std::vector<float> logits(20'000, -100.0f);
  std::vector<double> want(logits.size());
  logits[0] = logits[4095] = logits[4096] = logits[19'999] = 1;
  want[0] = want[4095] = want[4096] = want[19'999] = 0.25;
  ExpectFrequencies(logits, {.seed = 6}, want);
}

TEST(Sampler, CutsByTopKTopPAndMinPInThisOrder) {
  const std::vector<float> logits = RandomLogits(60, 3);
  for (const SamplingParameters& parameters :
       {SamplingParameters{.top_k = 5, .seed = 1}, SamplingParameters{.top_p = 0.7f, .seed = 2},
        SamplingParameters{.min_p = 0.05f, .seed = 3},
        SamplingParameters{.temperature = 2, .min_p = 0.02f, .top_k = 8, .top_p = 0.8f, .seed = 4},
        SamplingParameters{.temperature = 0.5f, .top_k = 50, .top_p = 0.95f, .seed = 5}}) {
    ExpectFrequencies(logits, parameters, Expected(logits, parameters));
  }
}

TEST(Sampler, TopPReachesFarDownAFlatDistribution) {
  const std::vector<float> logits(300, 0.0f);
  const SamplingParameters parameters{.top_p = 0.5f, .seed = 9};
  std::vector<double> want(300);
  std::fill(want.begin(), want.begin() + 150, 1.0 / 150);
  ExpectFrequencies(logits, parameters, want);
}

TEST(Sampler, TheSamePositionAndSeedDrawTheSameToken) {
  const std::vector<float> logits = RandomLogits(500, 4);
  Sampler fresh, used;
  Sample a, b;
  for (int position = 0; position < 50; ++position) {
    std::vector<float> row = logits, again = logits, other = RandomLogits(9000, 5);
    fresh = {};
    fresh.Draw(row, {.seed = 3}, {}, position, a);
    used.Draw(other, {.top_p = 0.9f, .logprobs = 3}, {}, 0, b);
    used.Draw(again, {.seed = 3}, {}, position, b);
    EXPECT_EQ(a.token, b.token);
  }
}

TEST(Sampler, PenaltiesFollowTheirDefinitions) {
  TokenCounts counts;
  counts.AddPrompt(std::vector<int32_t>{2, 1, 2});
  counts.AddGenerated(3);
  counts.AddGenerated(1);
  counts.AddGenerated(3);
  std::vector<float> logits = {1, 2, -3, 4};
  Sampler sampler;
  Sample sample;
  SamplingParameters parameters;
  parameters.temperature = 0;
  parameters.repetition_penalty = 2;
  parameters.presence_penalty = 0.5f;
  parameters.frequency_penalty = 0.25f;
  parameters.bias = {{0, -7.0f}};
  sampler.Draw(logits, parameters, counts, 0, sample);
  EXPECT_EQ(sample.token, 3);
  Penalise(parameters, counts, logits);
  EXPECT_EQ(logits, (std::vector<float>{-6, 2 / 2.0f - 0.5f - 0.25f, -6, 4 / 2.0f - 0.5f - 0.5f}));
}

TEST(Sampler, ReportsLogprobsOfTheModelsOwnDistribution) {
  const std::vector<float> logits = RandomLogits(5000, 6);
  double total = 0;
  for (const float logit : logits) total += std::exp(double{logit});
  std::vector<float> row = logits;
  Sampler sampler;
  Sample sample;
  sampler.Draw(row, {.temperature = 0.3f, .seed = 8, .bias = {{17, 30.0f}}, .logprobs = 5}, {}, 0,
               sample);
  EXPECT_EQ(sample.token, 17);
  EXPECT_NEAR(sample.logprob, logits[17] - std::log(total), 1e-5);
  ASSERT_EQ(sample.top.size(), 5u);
  std::vector<float> sorted = logits;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(sample.top[i].logprob, sorted[i] - std::log(total), 1e-5);
    EXPECT_EQ(logits[static_cast<size_t>(sample.top[i].token)], sorted[i]);
  }
}

TEST(Sampler, GivesATokenWhateverTheRowHolds) {
  Sampler sampler;
  Sample sample;
  for (const float value : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
    for (const SamplingParameters& parameters :
         {SamplingParameters{}, SamplingParameters{.top_p = 0.5f, .logprobs = 2}}) {
      std::vector<float> row(10, value);
      sampler.Draw(row, parameters, {}, 0, sample);
      EXPECT_EQ(sample.token, 0);
    }
  }
}

TEST(Sampler, UniformNumbersFillTheInterval) {
  std::map<int, int> bins;
  for (int position = 0; position < 10'000; ++position) {
    const double u = UniformAt(1, position);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++bins[static_cast<int>(u * 10)];
  }
  for (int bin = 0; bin < 10; ++bin) EXPECT_NEAR(bins[bin], 1000, 150);
  EXPECT_NE(UniformAt(1, 0), UniformAt(2, 0));
}

}  // namespace
}  // namespace sluice::lm

// Costs of steps from a made-up machine, and the play of coming steps against a plain one.
#include "lm/schedule/step_cost.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "lm/schedule/forecast.h"

namespace sluice::lm {
namespace {

using base::Duration;
using base::Time;

double Truth(const StepLoad& load) {
  return 18e6 + 0.5e6 * static_cast<double>(load.rows) + 0.3e6 * static_cast<double>(load.logits) +
         90.0 * static_cast<double>(load.pairs);
}

StepLoad RandomLoad(std::mt19937& random) {
  StepLoad load;
  const int64_t speaking = random() % 32;
  for (int64_t i = 0; i < speaking; ++i) load.Add(1, random() % 2000, true);
  if (speaking == 0 || random() % 3 == 0)
    load.Add(1 + random() % 224, random() % 1000, random() % 2);
  return load;
}

TEST(StepCostTest, FollowsAMachineThatThePriorMisjudged) {
  for (const double off : {0.1, 1.0, 12.0, 1000.0}) {
    std::mt19937 random(7);
    std::normal_distribution<double> noise(1, 0.03);
    const double skew = off == 12.0 ? 1 / off : off;
    StepCost cost({18e6 * off, 0.5e6 * skew, 0.3e6 * off, 90 * off});
    for (int i = 0; i < 600; ++i) {
      const StepLoad load = RandomLoad(random);
      cost.Record(load, {static_cast<int64_t>(Truth(load) * noise(random))});
    }
    double worst = 0;
    for (int i = 0; i < 300; ++i) {
      const StepLoad load = RandomLoad(random);
      worst = std::max(worst, std::abs(static_cast<double>(cost.Mean(load).ns) / Truth(load) - 1));
      EXPECT_TRUE(cost.High(load).measured);
    }
    EXPECT_LT(worst, 0.12) << "prior off by " << off;
  }
}

TEST(StepCostTest, OneOfTwentyStepsTakesMoreThanTheHighEstimate) {
  std::mt19937 random(3);
  std::exponential_distribution<double> late(5);
  StepCost cost({18e6, 0.5e6, 0.3e6, 90});
  StepLoad load;
  for (int i = 0; i < 16; ++i) load.Add(1, 100, true);
  int above = 0;
  constexpr int kSteps = 4000;
  for (int i = 0; i < 2 * kSteps; ++i) {
    const Duration took{static_cast<int64_t>(Truth(load) * (1 + late(random)))};
    if (i >= kSteps && took > cost.High(load).predicted) ++above;
    cost.Record(load, took);
  }
  EXPECT_GT(above, kSteps / 40);
  EXPECT_LT(above, kSteps / 10);
}

TEST(StepCostTest, WhatWasNeverMeasuredIsSaidSo) {
  StepCost cost({1e6, 1e4, 0, 0});
  StepLoad one, many, more;
  one.Add(1, 10, true);
  many.Add(100, 0, true);
  more.Add(200, 0, true);
  EXPECT_FALSE(cost.High(one).measured);
  for (int i = 0; i < 3; ++i) cost.Record(one, Duration::Millis(1));
  EXPECT_TRUE(cost.High(one).measured);
  EXPECT_FALSE(cost.High(many).measured);
  for (int i = 0; i < 3; ++i) cost.Record(more, Duration::Millis(3));
  EXPECT_TRUE(cost.High(many).measured) << "between two that were";
}

TEST(StepCostTest, RowsWithinATimeAreTheMostThatFit) {
  StepCost cost({18e6, 0.5e6, 0.3e6, 90});
  StepLoad load;
  for (int i = 0; i < 8; ++i) load.Add(1, 500, true);
  for (int64_t ms = 10; ms < 200; ms += 7) {
    const int64_t rows = cost.RowsWithin(Duration::Millis(ms), load, 300, 240, true);
    const auto takes = [&](int64_t count) {
      StepLoad with = load;
      with.Add(count, 300, count == 240);
      return cost.High(with).predicted;
    };
    EXPECT_TRUE(rows == 0 || takes(rows) <= Duration::Millis(ms));
    EXPECT_TRUE(rows == 240 || takes(rows + 1) > Duration::Millis(ms)) << rows << " in " << ms;
  }
}

TEST(StepCostTest, AProbeASecondIsGivenOut) {
  StepCost cost({1, 0, 0, 0});
  EXPECT_TRUE(cost.TakeProbe(Time{1}));
  EXPECT_FALSE(cost.TakeProbe(Time{2}));
  EXPECT_TRUE(cost.TakeProbe(Time{1} + StepCost::kProbeEvery));
}

// Every step for itself, by the rules of docs/language_models.md.
std::vector<Time> PlayedOneByOne(const Forecast::Options& options, const StepCost& cost, Time now,
                                 std::vector<Errand> errands) {
  std::vector<Time> finished(errands.size(), Time::Never());
  std::vector<size_t> order(errands.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (errands[a].priority != errands[b].priority)
      return errands[a].priority < errands[b].priority;
    return errands[a].urgent < errands[b].urgent;
  });
  for (size_t left = errands.size(); left > 0;) {
    StepLoad load;
    std::vector<std::pair<size_t, int64_t>> parts;
    int64_t running = 0;
    for (const size_t i : order) {
      if (errands[i].rows > 0 && errands[i].running) ++running;
    }
    for (const bool speaking : {true, false}) {
      for (const size_t i : order) {
        Errand& errand = errands[i];
        const bool speaks = errand.running && errand.rows == 1;
        if (errand.rows == 0 || speaks != speaking) continue;
        const int64_t take = std::min(errand.rows, options.rows_max - load.rows);
        if (take == 0 || (!errand.running && running == options.running_max)) continue;
        if (!errand.running) ++running;
        load.Add(take, errand.context, take == errand.rows);
        parts.emplace_back(i, take);
      }
    }
    now = now + cost.Mean(load);
    for (const auto& [i, take] : parts) {
      Errand& errand = errands[i];
      errand.running = true;
      errand.context += take;
      errand.rows -= take;
      if (errand.rows > 0) continue;
      if (errand.further-- > 0) {
        errand.rows = 1;
      } else {
        finished[i] = now;
        --left;
      }
    }
  }
  return finished;
}

TEST(ForecastTest, PlaysEqualStepsAtOnceAsIfOneByOne) {
  Forecast forecast;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const StepCost cost({18e6, 0.5e6, 0.3e6, seed % 2 == 0 ? 0.0 : 90.0});
    Forecast::Options options;
    options.rows_max = 16 + random() % 200;
    options.running_max = 1 + static_cast<int32_t>(random() % 12);
    std::vector<Errand> errands(1 + random() % 20);
    int32_t running = 0;
    for (Errand& errand : errands) {
      errand.rows = random() % 2 == 0 ? 1 : 1 + random() % 600;
      errand.further = random() % 60;
      errand.context = random() % 300;
      errand.priority = 1 + static_cast<int32_t>(random() % 2);
      errand.urgent = Time{static_cast<int64_t>(random() % 1000)};
      errand.running = running < options.running_max && random() % 2 == 0;
      running += errand.running ? 1 : 0;
    }
    const std::vector<Time> want = PlayedOneByOne(options, cost, Time{5}, errands);
    forecast.Play(options, cost, Time{5}, errands);
    for (size_t i = 0; i < errands.size(); ++i) {
      const auto took = static_cast<double>((want[i] - Time{5}).ns);
      EXPECT_NEAR(static_cast<double>((errands[i].finished - Time{5}).ns), took, 1e-3 * took + 100)
          << "seed " << seed << " errand " << i;
    }
  }
}

TEST(ForecastTest, GivesUpWhatIsPastItsDeadline) {
  const StepCost cost({10e6, 1e6, 0, 0});
  std::vector<Errand> errands(2);
  errands[0] = {.rows = 100, .further = 1000, .urgent = Time{1}, .deadline = Time{300'000'000}};
  errands[1] = {.rows = 10, .further = 0, .urgent = Time{2}};
  Forecast forecast;
  forecast.Play({.rows_max = 64, .running_max = 1}, cost, Time{0}, errands);
  EXPECT_TRUE(errands[0].finished.never());
  EXPECT_FALSE(errands[1].finished.never()) << "it runs once the other has gone";
}

TEST(ForecastTest, CutsPromptsByTheTimeOfAStep) {
  const StepCost cost({10e6, 1e6, 0, 0});
  std::vector<Errand> errands(1);
  errands[0] = {.rows = 100, .further = 0, .urgent = Time{1}};
  Forecast forecast;
  // Steps of 10 rows take 20 ms.
  forecast.Play({.rows_max = 64, .running_max = 1, .step_max = Duration::Micros(20'500)}, cost,
                Time{0}, errands);
  EXPECT_EQ(errands[0].finished.ns / 1'000'000, 10 * 20);
}

}  // namespace
}  // namespace sluice::lm

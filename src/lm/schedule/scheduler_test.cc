#include "lm/schedule/scheduler.h"

#include <gtest/gtest.h>

#include <numeric>

namespace sluice::lm {
namespace {

using Tokens = std::vector<int32_t>;

Tokens Range(int32_t first, int32_t count) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

class SchedulerTest : public testing::Test {
 protected:
  Scheduler Make(int32_t blocks, int32_t running_max = 8, int32_t sequences_max = 16) {
    return Scheduler(
        {.cache = {.blocks = blocks}, .running_max = running_max, .sequences_max = sequences_max});
  }
  // Forms a step, completes it and returns its rows by sequence.
  std::vector<std::pair<Scheduler::Id, int64_t>> Step(Scheduler& scheduler, int64_t rows_max) {
    std::vector<std::pair<Scheduler::Id, int64_t>> parts;
    if (!scheduler.Form(rows_max, plan_)) return parts;
    for (const Scheduler::Member& member : plan_.members) {
      parts.emplace_back(member.id, member.to - member.from);
    }
    scheduler.CheckIntegrity();
    scheduler.Complete(plan_);
    scheduler.CheckIntegrity();
    return parts;
  }
  using Parts = std::vector<std::pair<Scheduler::Id, int64_t>>;

  Scheduler::Plan plan_;
};

TEST_F(SchedulerTest, CutsAPromptIntoStepsAndAsksForTheLastRowsLogits) {
  Scheduler scheduler = Make(16);
  const auto id = scheduler.Add({.tokens = Range(0, 100), .generated_max = 2});
  EXPECT_EQ(Step(scheduler, 64), (Parts{{id, 64}}));
  EXPECT_TRUE(plan_.rows.logit_rows.empty());
  EXPECT_EQ(Step(scheduler, 64), (Parts{{id, 36}}));
  EXPECT_EQ(plan_.rows.logit_rows, (Tokens{35}));
  EXPECT_TRUE(Step(scheduler, 64).empty());
  scheduler.Append(id, 7);
  EXPECT_EQ(Step(scheduler, 64), (Parts{{id, 1}}));
  EXPECT_EQ(plan_.rows.tokens, (Tokens{7}));
  EXPECT_EQ(plan_.rows.positions, (Tokens{100}));
}

TEST_F(SchedulerTest, APromptFillsALargeStepOnlyWhereNobodySpeaks) {
  Scheduler scheduler = Make(64);
  const auto first = scheduler.Add({.tokens = Range(0, 700), .generated_max = 9});
  EXPECT_EQ(Step(scheduler, 512), (Parts{{first, 512}}));
  EXPECT_EQ(Step(scheduler, 512), (Parts{{first, 188}}));
  scheduler.Append(first, 50);
  const auto second = scheduler.Add({.tokens = Range(1000, 600), .generated_max = 9});
  EXPECT_EQ(Step(scheduler, 512), (Parts{{first, 1}, {second, 255}}));
  EXPECT_EQ(Step(scheduler, 512), (Parts{{second, 345}}));
}

TEST_F(SchedulerTest, DecodesRunningSequencesBesideANewPrompt) {
  Scheduler scheduler = Make(16);
  const auto first = scheduler.Add({.tokens = Range(0, 5), .generated_max = 9});
  Step(scheduler, 40);
  scheduler.Append(first, 50);
  const auto second = scheduler.Add({.tokens = Range(100, 60)});
  EXPECT_EQ(Step(scheduler, 40), (Parts{{first, 1}, {second, 39}}));
}

TEST_F(SchedulerTest, TheEarlierDeadlineAndTheSmallerPriorityGoFirst) {
  Scheduler scheduler = Make(16, 8);
  const auto at = [](int64_t ms) { return base::Time{} + base::Duration::Millis(ms); };
  const auto late = scheduler.Add({.tokens = Range(0, 10), .deadline = at(20)});
  const auto never = scheduler.Add({.tokens = Range(100, 10)});
  const auto early = scheduler.Add({.tokens = Range(200, 10), .deadline = at(10)});
  const auto second = scheduler.Add({.tokens = Range(300, 10), .priority = 2, .deadline = at(1)});
  EXPECT_EQ(Step(scheduler, 40), (Parts{{early, 10}, {late, 10}, {never, 10}, {second, 10}}));
}

TEST_F(SchedulerTest, SharesWhatAnotherSequenceHasComputed) {
  Scheduler scheduler = Make(16);
  const kv::DomainId domain = scheduler.cache().Domain("");
  const auto first = scheduler.Add({.tokens = Range(0, 70), .domain = domain});
  Step(scheduler, 100);
  scheduler.Remove(first);
  const auto second = scheduler.Add({.tokens = Range(0, 80), .domain = domain});
  EXPECT_EQ(Step(scheduler, 100), (Parts{{second, 10}}));
  // All of it is there, but for the last token's logits.
  scheduler.Remove(second);
  const auto third = scheduler.Add({.tokens = Range(0, 80), .domain = domain});
  EXPECT_EQ(Step(scheduler, 100), (Parts{{third, 1}}));
}

TEST_F(SchedulerTest, ItemsBehindOnePrefixWaitForItAndShareIt) {
  Scheduler scheduler = Make(32, 16);
  const kv::DomainId domain = scheduler.cache().Domain("");
  std::vector<Scheduler::Id> items;
  for (int32_t i = 0; i < 5; ++i) {
    Tokens tokens = Range(0, 70);
    tokens.insert(tokens.end(), 3, 1000 + i);
    items.push_back(scheduler.Add({.tokens = tokens, .domain = domain}));
  }
  EXPECT_EQ(Step(scheduler, 200), (Parts{{items[0], 73}}));
  EXPECT_EQ(Step(scheduler, 200),
            (Parts{{items[1], 3}, {items[2], 3}, {items[3], 3}, {items[4], 3}}));
  EXPECT_EQ(scheduler.statistics().computed_tokens, 73 + 4 * 3);
}

TEST_F(SchedulerTest, TheLeastUrgentSequenceGivesWayAndComesBackToWhatIsLeft) {
  Scheduler scheduler = Make(5);
  const kv::DomainId domain = scheduler.cache().Domain("");
  const auto first = scheduler.Add({.tokens = Range(0, 60), .generated_max = 10, .domain = domain});
  const auto second =
      scheduler.Add({.tokens = Range(500, 90), .generated_max = 10, .domain = domain});
  EXPECT_EQ(Step(scheduler, 150), (Parts{{first, 60}, {second, 90}}));
  for (int32_t i = 0; i < 5; ++i) {
    scheduler.Append(first, i);
    if (i < 4) scheduler.Append(second, i);
    Step(scheduler, 8);
    if (scheduler.statistics().preemptions > 0) break;
  }
  // The 65th token of the first needs the sixth block.
  EXPECT_EQ(scheduler.statistics().preemptions, 1);
  EXPECT_EQ(scheduler.running(), 1);
  EXPECT_EQ(scheduler.waiting(), 1);
  scheduler.Remove(first);
  Step(scheduler, 100);
  EXPECT_EQ(scheduler.computed(second), 94);
  EXPECT_GT(scheduler.statistics().found_tokens, 0);
  EXPECT_EQ(scheduler.statistics().recomputed_tokens + scheduler.statistics().found_tokens, 94);
}

TEST_F(SchedulerTest, RefusesWhatCanNeverBeHeldAndWhatIsTooMuch) {
  Scheduler scheduler = Make(4, 2, 2);
  EXPECT_EQ(scheduler.Add({.tokens = Range(0, 90), .generated_max = 10}), Scheduler::kNone);
  EXPECT_NE(scheduler.Add({.tokens = Range(0, 90), .generated_max = 6}), Scheduler::kNone);
  EXPECT_NE(scheduler.Add({.tokens = Range(0, 1)}), Scheduler::kNone);
  EXPECT_EQ(scheduler.Add({.tokens = Range(0, 1)}), Scheduler::kNone);
}

TEST_F(SchedulerTest, WhatIsRemovedInAStepGoesWhenTheStepIsDone) {
  Scheduler scheduler = Make(8);
  const auto id = scheduler.Add({.tokens = Range(0, 40)});
  ASSERT_TRUE(scheduler.Form(10, plan_));
  scheduler.Remove(id);
  scheduler.CheckIntegrity();
  EXPECT_EQ(scheduler.running(), 1);
  scheduler.Complete(plan_);
  EXPECT_EQ(scheduler.running(), 0);
  EXPECT_EQ(scheduler.cache().free_blocks(), 8);
}

TEST_F(SchedulerTest, AnAbandonedStepIsComputedAgain) {
  Scheduler scheduler = Make(8);
  const kv::DomainId domain = scheduler.cache().Domain("");
  const auto id = scheduler.Add({.tokens = Range(0, 80), .domain = domain});
  Step(scheduler, 40);
  ASSERT_TRUE(scheduler.Form(100, plan_));
  scheduler.Abandon(plan_);
  scheduler.CheckIntegrity();
  // The first step's full block was published.
  EXPECT_EQ(Step(scheduler, 100), (Parts{{id, 40}}));
}

TEST_F(SchedulerTest, TwoStepsInFlightShareNoSequence) {
  Scheduler scheduler = Make(8);
  const auto first = scheduler.Add({.tokens = Range(0, 40)});
  Scheduler::Plan other;
  ASSERT_TRUE(scheduler.Form(20, plan_));
  EXPECT_FALSE(scheduler.Form(20, other));
  const auto second = scheduler.Add({.tokens = Range(100, 20)});
  ASSERT_TRUE(scheduler.Form(20, other));
  EXPECT_EQ(other.members[0].id, second);
  scheduler.Complete(plan_);
  scheduler.Complete(other);
  scheduler.CheckIntegrity();
  EXPECT_EQ(scheduler.computed(first), 20);
}

// 10 ms a step and 1 ms a row, measured at every size.
StepCost MillisARow() {
  StepCost cost({10e6, 1e6, 0, 0});
  for (int64_t rows = 1; rows <= 256; rows *= 2) {
    for (int i = 0; i < 3; ++i) {
      StepLoad load;
      load.rows = rows;
      cost.Record(load, base::Duration::Millis(10 + rows));
    }
  }
  return cost;
}

TEST_F(SchedulerTest, CutsPromptsSoThatATokenComesWhenItIsDue) {
  const StepCost cost = MillisARow();
  const base::Time now = base::Time{} + base::Duration::Seconds(1);
  for (const int64_t due_ms : {40, 60, 100}) {
    Scheduler scheduler = Make(32);
    const auto speaks = scheduler.Add({.tokens = Range(0, 10), .generated_max = 9});
    Step(scheduler, 64);
    scheduler.Append(speaks, 50);
    scheduler.SetDue(speaks, now + base::Duration::Millis(due_ms));
    const auto prompt = scheduler.Add({.tokens = Range(100, 200)});
    ASSERT_TRUE(scheduler.Form({.rows_max = 256, .cost = &cost, .now = now}, plan_));
    ASSERT_EQ(plan_.members.size(), 2u);
    EXPECT_EQ(plan_.members[1].id, prompt);
    EXPECT_NEAR(static_cast<double>(plan_.rows.rows()), static_cast<double>(due_ms - 10),
                0.1 * static_cast<double>(due_ms));
    scheduler.Complete(plan_);
  }
}

TEST_F(SchedulerTest, APromptGoesOnALittleWhereNoStepIsShortEnough) {
  const StepCost cost = MillisARow();
  Scheduler scheduler = Make(32);
  scheduler.Add({.tokens = Range(100, 200)});
  ASSERT_TRUE(scheduler.Form(
      {.rows_max = 256, .cost = &cost, .time_max = base::Duration::Millis(1)}, plan_));
  EXPECT_EQ(plan_.rows.rows(), StepLimits::kPromptRowsMin);
  scheduler.Complete(plan_);
}

TEST_F(SchedulerTest, StepsKeepToTheTimeThatOthersLeave) {
  const StepCost cost = MillisARow();
  Scheduler scheduler = Make(32);
  scheduler.Add({.tokens = Range(100, 200)});
  ASSERT_TRUE(scheduler.Form(
      {.rows_max = 256, .cost = &cost, .time_max = base::Duration::Millis(74)}, plan_));
  EXPECT_NEAR(static_cast<double>(plan_.rows.rows()), 64, 8);
  scheduler.Complete(plan_);
}

TEST_F(SchedulerTest, ThoseThatSpeakGoOnBeforeAMoreUrgentPrompt) {
  Scheduler scheduler = Make(32);
  const auto speaks = scheduler.Add({.tokens = Range(0, 10), .generated_max = 9});
  Step(scheduler, 64);
  scheduler.Append(speaks, 50);
  const auto urgent = scheduler.Add({.tokens = Range(100, 200), .priority = 0});
  EXPECT_EQ(Step(scheduler, 64), (Parts{{speaks, 1}, {urgent, 63}}));
}

TEST_F(SchedulerTest, AWaitingPromptGoesBeforeALessUrgentOneThatRuns) {
  Scheduler scheduler = Make(32);
  const auto runs = scheduler.Add({.tokens = Range(0, 200)});
  Step(scheduler, 32);
  const auto urgent = scheduler.Add({.tokens = Range(300, 40), .priority = 0});
  EXPECT_EQ(Step(scheduler, 64), (Parts{{urgent, 40}, {runs, 24}}));
}

}  // namespace
}  // namespace sluice::lm

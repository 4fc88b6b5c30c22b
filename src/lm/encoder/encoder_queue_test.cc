#include "lm/encoder/encoder_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sluice::lm {
namespace {

using engine::Admission;

constexpr int64_t kUnits = 64;  // of a full step, which takes 10 ms

base::Duration TimeOf(int64_t units) {
  return {base::Duration::Millis(10).ns * units / kUnits};
}

class EncoderQueueTest : public testing::Test {
 protected:
  EncoderQueueTest()
      : costs_([](uint64_t, int64_t units) { return TimeOf(units); }),
        queue_({.step_units_max = kUnits, .priority_levels = 3, .priority_default = 2}, costs_) {
    outlook_.now = outlook_.device_free = now_;
    members_.reserve(100);
  }
  // As if steps of many sizes had run.
  void Measure() {
    for (int64_t units = 1; units <= kUnits; ++units) {
      for (int i = 0; i < 4; ++i) costs_.Record(0, units, TimeOf(units), now_);
    }
    // The one that would run to learn is spent.
    (void)costs_.TakeProbe(now_);
  }
  Admission Add(std::vector<int32_t> units, base::Duration within, int priority = 0) {
    auto request = std::make_unique<engine::Request>();
    engine::Call::Options call;
    call.priority = priority;
    if (within > base::Duration{}) call.deadline = now_ + within;
    request->call = std::make_shared<engine::Call>(std::move(call));
    request->id = std::to_string(count_++);
    return queue_.Add(request, std::move(units), outlook_);
  }
  // Requests and how many of their sequences the next step holds: "1:2 0:1".
  std::string Take(engine::WorkClass work) {
    const engine::Offer* const offer = queue_.BestOffer(now_, work);
    if (offer == nullptr) return "no offer";
    engine::Step step;
    step.formed = now_;
    members_.clear();
    std::string taken;
    if (!queue_.Take(*offer, step, members_, replies_)) return "nothing";
    for (const EncoderQueue::Member& member : members_) {
      taken += (taken.empty() ? "" : " ") + member.entry->request->id + ":" +
               std::to_string(member.count);
    }
    queue_.CheckIntegrity();
    return taken;
  }
  // The step that was taken is done.
  void Finish() {
    for (const EncoderQueue::Member& member : members_) {
      queue_.Return(member, true);
      if (member.entry->done == member.entry->sequences()) (void)queue_.Remove(*member.entry);
    }
    members_.clear();
    queue_.CheckIntegrity();
  }

  static constexpr auto kTimed = engine::WorkClass::kTimed;
  static constexpr auto kUntimed = engine::WorkClass::kUntimed;
  base::Time now_{1'000'000'000};
  engine::Outlook outlook_;
  engine::CostModel costs_;
  EncoderQueue queue_;
  engine::Replies replies_;
  std::vector<EncoderQueue::Member> members_;
  int count_ = 0;
};

TEST_F(EncoderQueueTest, SequencesOfTheMostUrgentRequestsFillAStep) {
  ASSERT_EQ(Add({30, 30, 30}, {}), Admission::kQueued);                 // 0
  ASSERT_EQ(Add({10, 10}, {}, 1), Admission::kQueued);                  // 1: the more urgent level
  ASSERT_EQ(Add({5}, base::Duration::Seconds(9)), Admission::kQueued);  // 2: has a deadline
  EXPECT_EQ(Take(kUntimed), "1:2 0:1");
  Finish();
  EXPECT_EQ(Take(kTimed), "2:1 0:1");
  Finish();
  EXPECT_EQ(Take(kUntimed), "0:1");
  Finish();
  EXPECT_EQ(Take(kUntimed), "no offer");
  EXPECT_EQ(queue_.size(), 0);
}

TEST_F(EncoderQueueTest, ASequenceLargerThanAStepRunsAlone) {
  ASSERT_EQ(Add({100, 1}, {}), Admission::kQueued);
  EXPECT_EQ(Take(kUntimed), "0:1");
  Finish();
  EXPECT_EQ(Take(kUntimed), "0:1");
  Finish();
}

TEST_F(EncoderQueueTest, NothingJoinsThatWouldMakeAMemberLate) {
  Measure();
  ASSERT_EQ(Add({16}, base::Duration::Millis(4)), Admission::kQueued);
  ASSERT_EQ(Add({16, 16}, {}), Admission::kQueued);
  // 16 of 64 units take 2.5 ms, 32 take 5 ms.
  EXPECT_EQ(Take(kTimed), "0:1");
  Finish();
  EXPECT_EQ(Take(kUntimed), "1:2");
  Finish();
}

TEST_F(EncoderQueueTest, WhatCannotBeInTimeIsRefusedOnArrival) {
  ASSERT_EQ(Add({64, 64}, base::Duration::Millis(5)), Admission::kQueued) << "nothing is measured";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Take(kTimed), "0:1");
    Finish();
  }
  Measure();
  EXPECT_EQ(Add({64, 64}, base::Duration::Millis(15)), Admission::kTooLate);
  EXPECT_EQ(Add({64, 64}, base::Duration::Millis(25)), Admission::kQueued);
  // Behind what is due before it.
  EXPECT_EQ(Add({64}, base::Duration::Millis(29)), Admission::kTooLate);
  EXPECT_EQ(Add({64}, base::Duration::Millis(60)), Admission::kQueued);
  // A less urgent level's work does not count.
  EXPECT_EQ(Add({32}, base::Duration::Millis(70), 1), Admission::kQueued);
  for (engine::Replies replies; queue_.size() > 0;) {
    now_ = now_ + base::Duration::Seconds(1);
    queue_.Sweep(now_, replies);
  }
}

TEST_F(EncoderQueueTest, WhatHasBecomeLateIsDroppedAndTheNextOneRuns) {
  Measure();
  ASSERT_EQ(Add({64}, base::Duration::Millis(12)), Admission::kQueued);
  ASSERT_EQ(Add({32}, base::Duration::Millis(40)), Admission::kQueued);
  now_ = now_ + base::Duration::Millis(5);
  EXPECT_EQ(Take(kTimed), "1:1");
  ASSERT_EQ(replies_.rows().size(), 1u);
  EXPECT_STREQ(replies_.rows()[0].reply.reason, engine::reason::kDeadlineQueue);
  Finish();
}

TEST_F(EncoderQueueTest, CountsLimitsOfRequestsAndBytes) {
  EncoderQueue small({.requests_max = 1}, costs_);
  const auto add = [&](int64_t bytes) {
    auto request = std::make_unique<engine::Request>();
    request->call = std::make_shared<engine::Call>(engine::Call::Options{});
    request->bytes = bytes;
    return small.Add(request, {1}, outlook_);
  };
  EXPECT_EQ(add(int64_t{1} << 40), Admission::kQueueFull);
  EXPECT_EQ(add(1), Admission::kQueued);
  EXPECT_EQ(add(1), Admission::kQueueFull);
}

}  // namespace
}  // namespace sluice::lm

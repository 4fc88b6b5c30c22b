// Admission against the whole loop's backlog: with exact costs and nobody more urgent coming later,
// what is admitted is met, and what is refused could not have been.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "engine/device_loop.h"
#include "sim/recording_sink.h"

namespace sluice::sim {
namespace {

using base::Duration;
using base::Time;

class AdmissionTest : public ::testing::Test {
 protected:
  struct Model {
    Duration fixed, per_row;
    int64_t rows_max = 0;
    std::shared_ptr<const engine::EngineVersion> pin;
    FakeEngine* engine = nullptr;
  };
  struct Asked {
    Sent sent;
    const Model* model = nullptr;
    Time deadline;
    Duration cost;
    bool seen = false;  // its answer was looked at
  };

  void Start(bool nesting) {
    engine::DeviceLoop::Options options;
    options.clock = &clock_;
    options.threaded = false;
    options.inline_below = {};
    options.nesting = nesting;
    loop_ = std::make_unique<engine::DeviceLoop>(options);
  }
  void Add(Duration fixed, Duration per_row, int64_t rows_max) {
    FakeEngine::Options options;
    options.fixed = fixed;
    options.per_row = per_row;
    options.piece = Duration::Micros(100);
    options.batching.rows_max = rows_max;
    options.spend = [this](Duration d) {
      clock_.Advance(d);
      if (while_running_) while_running_();
    };
    auto model = std::make_unique<Model>();
    model->fixed = fixed;
    model->per_row = per_row;
    model->rows_max = rows_max;
    auto engine = std::make_unique<FakeEngine>(std::move(options));
    model->engine = engine.get();
    model->pin = engine::EngineVersion::Create(std::move(engine), *loop_, [this](auto version) {
                   retired_.push_back(std::move(version));
                 }).value();
    models_.push_back(std::move(model));
  }
  // Makes every cost known and takes the probe of the second.
  void Measure() {
    for (const auto& model : models_) {
      for (int64_t rows = 1; rows <= std::max<int64_t>(model->rows_max, 1); ++rows) {
        for (int i = 0; i < 3; ++i) {
          Wish wish;
          wish.rows = rows;
          Send(model->pin, wish);
          while (loop_->RunOnce()) {
          }
        }
      }
      Wish hopeless;
      hopeless.deadline = clock_.Now() + Duration{1};
      Send(model->pin, hopeless);
      while (loop_->RunOnce()) {
      }
    }
  }
  void TearDown() override {
    asked_.clear();
    models_.clear();
    retired_.clear();
    loop_.reset();
  }
  Duration CostOf(const Model& model, int64_t rows) const {
    return model.fixed + model.per_row * rows;
  }

  base::VirtualClock clock_{Time{1'000'000'000}};
  std::unique_ptr<engine::DeviceLoop> loop_;
  std::vector<std::unique_ptr<Model>> models_;
  std::vector<std::unique_ptr<engine::EngineVersion>> retired_;
  std::vector<Asked> asked_;
  std::function<void()> while_running_;
};

TEST_F(AdmissionTest, WhatIsAdmittedIsMetAndWhatIsRefusedCouldNotBe) {
  int64_t met = 0, refused = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int64_t n) {
      return static_cast<int64_t>(random() % static_cast<uint32_t>(n));
    };
    Start(false);
    for (int i = 0; i < 3; ++i) Add(Duration::Micros(30 + below(i == 0 ? 100 : 8000)), {}, 0);
    Measure();
    const Time end = clock_.Now() + Duration::Millis(600);
    Time latest_start = clock_.Now();
    Time next = clock_.Now();
    const auto arrive = [&] {
      while (next <= clock_.Now() && next < end) {
        next = next + Duration::Micros(1 + below(2500));
        const Model& model = *models_[static_cast<size_t>(below(3))];
        const Duration cost = CostOf(model, 1);
        latest_start =
            std::max(latest_start + Duration{1}, clock_.Now() + Duration::Micros(below(20'000)));
        Wish wish;
        wish.deadline = latest_start + cost;
        asked_.push_back({Send(model.pin, wish), &model, wish.deadline, cost, false});
      }
      // Everything admitted and not answered goes before a newcomer.
      Duration waits;
      for (const Asked& asked : asked_) {
        if (!asked.sent.sink->answered()) waits = waits + asked.cost;
      }
      for (Asked& asked : asked_) {
        if (asked.seen || !asked.sent.sink->answered()) continue;
        asked.seen = true;
        if (asked.sent.sink->reply().status.ok()) {
          ASSERT_LE(clock_.Now(), asked.deadline) << "late, seed " << seed;
          ++met;
          continue;
        }
        ASSERT_EQ(asked.sent.sink->reason(), engine::reason::kDeadlineAdmission) << seed;
        // At most a piece of the running step has passed since it was looked at.
        ASSERT_GT(clock_.Now() + waits + asked.cost + Duration::Micros(100), asked.deadline)
            << "refused for nothing, seed " << seed;
        ++refused;
      }
    };
    while_running_ = arrive;
    while (clock_.Now() < end || loop_->unanswered() > 0) {
      arrive();
      if (!loop_->RunOnce()) clock_.Set(std::max(next, clock_.Now() + Duration{1}));
      loop_->CheckIntegrity();
      arrive();
      if (HasFatalFailure()) return;
    }
    while_running_ = nullptr;
    TearDown();
  }
  std::printf("admission: %ld met, %ld refused, none dropped or late\n", static_cast<long>(met),
              static_cast<long>(refused));
  EXPECT_GT(met, 10'000);
  EXPECT_GT(refused, 5'000);
}

TEST_F(AdmissionTest, OtherModelsQueuesCount) {
  Start(false);
  Add(Duration::Millis(10), {}, 0);
  Add(Duration::Millis(1), {}, 0);
  Measure();
  const auto ask = [&](size_t model, int64_t ms) {
    Wish wish;
    wish.deadline = clock_.Now() + Duration::Millis(ms);
    return Send(models_[model]->pin, wish).sink;
  };
  std::vector<std::shared_ptr<RecordingSink>> first;
  for (int i = 0; i < 4; ++i) first.push_back(ask(0, 45));  // 40 ms of work, to start by 35 ms
  const auto before = ask(1, 20);                           // more urgent: goes first
  const auto refused = ask(1, 41);                          // to start by 40 ms, behind 41 ms
  const auto behind = ask(1, 43);                           // to start by 42 ms
  EXPECT_FALSE(refused->answered());
  loop_->RunOnce();
  ASSERT_TRUE(refused->answered()) << "before the work ahead of it is done";
  EXPECT_EQ(refused->reason(), engine::reason::kDeadlineAdmission);
  while (loop_->RunOnce()) {
  }
  EXPECT_TRUE(before->reply().status.ok());
  EXPECT_TRUE(behind->reply().status.ok());
  for (const auto& sink : first) EXPECT_TRUE(sink->reply().status.ok());
}

TEST_F(AdmissionTest, ABriefStepDoesNotCountLongOnesThatItNestsIn) {
  Start(true);
  Add(Duration::Millis(10), {}, 0);
  Add(Duration::Millis(1), {}, 0);
  Measure();
  std::vector<Sent> sent;
  for (int i = 0; i < 4; ++i) {
    Wish wish;
    wish.deadline = clock_.Now() + Duration::Millis(50);
    sent.push_back(Send(models_[0]->pin, wish));
  }
  Wish brief;
  brief.deadline = clock_.Now() + Duration::Millis(42);
  const Sent urgent = Send(models_[1]->pin, brief);
  while (loop_->RunOnce()) {
  }
  EXPECT_TRUE(urgent.sink->reply().status.ok()) << urgent.sink->reason();
}

TEST_F(AdmissionTest, AdmittedThenDroppedIsRareUnderJoiningAndNesting) {
  int64_t met = 0, refused = 0, dropped = 0, late = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int64_t n) {
      return static_cast<int64_t>(random() % static_cast<uint32_t>(n));
    };
    Start(true);
    Add(Duration::Micros(30 + below(100)), Duration::Micros(5), 8);
    Add(Duration::Micros(500 + below(3000)), Duration::Micros(100 + below(500)), 8);
    Add(Duration::Micros(2000 + below(8000)), {}, 0);
    Measure();
    const Time end = clock_.Now() + Duration::Millis(600);
    Time next = clock_.Now();
    const Duration patience = Duration::Micros(15'000 + below(40'000));
    while_running_ = [&] {
      while (next <= clock_.Now() && next < end) {
        next = next + Duration::Micros(1 + below(4500));
        const Model& model = *models_[static_cast<size_t>(below(3))];
        Wish wish;
        wish.deadline = clock_.Now() + patience;
        wish.rows = 1 + below(std::max<int64_t>(model.rows_max / 2, 1));
        asked_.push_back({Send(model.pin, wish), &model, wish.deadline, {}, false});
      }
    };
    while (clock_.Now() < end || loop_->unanswered() > 0) {
      while_running_();
      if (!loop_->RunOnce()) clock_.Set(std::max(next, clock_.Now() + Duration{1}));
      loop_->CheckIntegrity();
    }
    while_running_ = nullptr;
    for (const Asked& asked : asked_) {
      const std::string why = asked.sent.sink->reason();
      met += asked.sent.sink->reply().status.ok() ? 1 : 0;
      refused += why == engine::reason::kDeadlineAdmission ? 1 : 0;
      dropped += why == engine::reason::kDeadlineQueue ? 1 : 0;
      late += why == engine::reason::kDeadlineStep ? 1 : 0;
    }
    TearDown();
  }
  std::printf("admission: %ld met, %ld refused, %ld dropped, %ld abandoned\n",
              static_cast<long>(met), static_cast<long>(refused), static_cast<long>(dropped),
              static_cast<long>(late));
  EXPECT_GT(met, 10'000);
  EXPECT_GT(refused, 500);
  EXPECT_LT(dropped + late, (met + dropped + late) / 20);
}

}  // namespace
}  // namespace sluice::sim

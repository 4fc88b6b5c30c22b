// For tests: an engine on a loop without threads, by a virtual clock.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/device_loop.h"
#include "engine/version.h"

namespace sluice::engine {

// Keeps the one reply that it gets.
class OneReplySink : public ReplySink {
 public:
  void Post(Reply reply) override {
    ASSERT_FALSE(answered) << "a reply behind the terminal one";
    answered = reply.terminal;
    last = std::move(reply);
  }
  bool answered = false;
  Reply last;
};

class LoopTest : public testing::Test {
 protected:
  void TearDown() override {
    pin_.reset();
    retired_.clear();
    loop_.reset();
  }
  // In place of the engine that was there.
  void Serve(std::unique_ptr<Engine> engine) {
    LoopTest::TearDown();
    DeviceLoop::Options options;
    options.clock = &clock_;
    options.threaded = false;
    options.inline_below = {};
    loop_ = std::make_unique<DeviceLoop>(options);
    pin_ = EngineVersion::Create(std::move(engine), *loop_, [this](auto version) {
             retired_.push_back(std::move(version));
           }).value();
  }
  void Submit(std::unique_ptr<Request> request) {
    const base::Status prepared = pin_->engine().Prepare(*request);
    EXPECT_TRUE(prepared.ok()) << prepared.error().message;
    engine::Submit(pin_, std::move(request));
  }
  // Empty: none.
  std::string PrepareError(std::unique_ptr<Request> request) {
    const base::Status prepared = pin_->engine().Prepare(*request);
    return prepared.ok() ? "" : prepared.error().message;
  }
  // Where the loop has nothing to do, the clock goes on to when it will have.
  bool Turn() {
    const bool worked = loop_->RunOnce();
    loop_->CheckIntegrity();
    if (!worked && loop_->next_wake() > clock_.Now()) clock_.Set(loop_->next_wake());
    return worked;
  }
  void Run() {
    for (int i = 0; i < 20'000 && loop_->unanswered() > 0; ++i) Turn();
    EXPECT_EQ(loop_->unanswered(), 0);
  }

  base::VirtualClock clock_{base::Time{1'000'000'000}};
  std::unique_ptr<DeviceLoop> loop_;
  std::shared_ptr<const EngineVersion> pin_;
  std::vector<std::unique_ptr<EngineVersion>> retired_;
};

}  // namespace sluice::engine

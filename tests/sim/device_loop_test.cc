// One behaviour of the device loop a test, on a virtual clock.
#include "engine/device_loop.h"

#include <gtest/gtest.h>

#include "sim/recording_sink.h"
#include "tensor/ledger.h"

namespace sluice::sim {
namespace {

using base::Duration;
using base::Time;
using engine::DeviceLoop;
using engine::EngineVersion;
using VersionPin = std::shared_ptr<const EngineVersion>;

class DeviceLoopTest : public ::testing::Test {
 protected:
  void MakeLoop(DeviceLoop::Options options) {
    options.clock = &clock_;
    options.threaded = false;
    loop_ = std::make_unique<DeviceLoop>(options);
  }
  void MakeLoop() {
    DeviceLoop::Options options;
    options.inline_below = {};
    MakeLoop(options);
  }
  VersionPin Load(FakeEngine::Options options) {
    if (!options.spend) options.spend = [this](Duration d) { clock_.Advance(d); };
    auto made =
        EngineVersion::Create(std::make_unique<FakeEngine>(std::move(options)), *loop_,
                              [this](auto version) { retired_.push_back(std::move(version)); });
    return std::move(made).value();
  }
  // Runs until nothing is left to do, moving the clock to where the loop wants to wake.
  void Run() {
    for (int i = 0; i < 100000 && loop_->unanswered() > 0; ++i) {
      if (!loop_->RunOnce() && loop_->next_wake() > clock_.Now()) clock_.Set(loop_->next_wake());
      loop_->CheckIntegrity();
    }
  }
  Time In(int64_t us) { return clock_.Now() + Duration::Micros(us); }

  base::VirtualClock clock_{Time{1'000'000'000}};
  std::unique_ptr<DeviceLoop> loop_;
  std::vector<std::unique_ptr<EngineVersion>> retired_;

  void TearDown() override {
    retired_.clear();
    loop_.reset();
  }
};

FakeEngine::Options Fast() {
  FakeEngine::Options options;
  options.name = "fast";
  options.prior = Duration::Micros(2);
  return options;
}

FakeEngine::Options Slow() {
  FakeEngine::Options options;
  options.name = "slow";
  options.fixed = Duration::Millis(100);
  options.prior = Duration::Millis(100);
  return options;
}

TEST_F(DeviceLoopTest, AnswersARequest) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  const Sent sent = Send(fast, {});
  EXPECT_FALSE(sent.sink->answered());
  Run();
  ASSERT_TRUE(sent.sink->answered());
  EXPECT_TRUE(sent.sink->reply().status.ok());
}

TEST_F(DeviceLoopTest, AnAnswerFoundInPreparationNeedsNoStep) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  auto sink = std::make_shared<RecordingSink>();
  auto request = std::make_unique<engine::Request>();
  request->call = std::make_shared<engine::Call>(engine::Call::Options{});
  request->sink = sink;
  request->answer.emplace();
  request->answer->parameters.emplace_back("said", int64_t{7});
  engine::Submit(fast, std::move(request));
  ASSERT_TRUE(sink->answered());
  EXPECT_EQ(sink->reply().parameters.at(0).first, "said");
  EXPECT_EQ(fast->statistics().snapshot().success.count, 1);
  EXPECT_EQ(fast->statistics().snapshot().execution_count, 0);
  EXPECT_EQ(fast->statistics().snapshot().pending, 0);
}

TEST_F(DeviceLoopTest, JoinsRowsOfOneShapeOnly) {
  MakeLoop();
  FakeEngine::Options options = Fast();
  options.batching.rows_max = 4;
  VersionPin pin = Load(options);
  std::vector<Sent> sent;
  for (uint64_t i = 0; i < 6; ++i) sent.push_back(Send(pin, {.shape = i / 3}));
  Run();
  for (const Sent& one : sent) EXPECT_EQ(one.sink->reply().timings.batch_rows, 3);
}

TEST_F(DeviceLoopTest, SubmitRunsAShortStepOnTheCallingThread) {
  DeviceLoop::Options options;
  options.inline_below = Duration::Micros(100);
  MakeLoop(options);
  VersionPin fast = Load(Fast());
  VersionPin slow = Load(Slow());
  EXPECT_TRUE(Send(fast, {}).sink->answered());
  const Sent left = Send(slow, {});
  EXPECT_FALSE(left.sink->answered());
  Run();
  EXPECT_TRUE(left.sink->answered());
}

TEST_F(DeviceLoopTest, AnUrgentShortStepRunsInsideALongOne) {
  MakeLoop();
  Sent click;
  VersionPin fast = Load(Fast());
  FakeEngine::Options options = Slow();
  bool sent_click = false;
  options.spend = [&](Duration d) {
    clock_.Advance(d);
    if (!sent_click) click = Send(fast, {});
    sent_click = true;
  };
  VersionPin slow = Load(options);
  const Time start = clock_.Now();
  const Sent batch = Send(slow, {});
  loop_->RunOnce();
  ASSERT_TRUE(click.sink->answered());
  EXPECT_LT(click.sink->reply().timings.queue, Duration::Millis(1));
  // The outer step is not charged for the time of the nested one.
  EXPECT_EQ(batch.sink->reply().timings.compute, Duration::Millis(100));
  EXPECT_EQ(clock_.Now() - start, Duration::Millis(100) + Duration::Micros(2));
}

TEST_F(DeviceLoopTest, WithoutNestingTheShortStepWaits) {
  DeviceLoop::Options loop_options;
  loop_options.inline_below = {};
  loop_options.nesting = false;
  MakeLoop(loop_options);
  Sent click;
  VersionPin fast = Load(Fast());
  FakeEngine::Options options = Slow();
  bool sent_click = false;
  options.spend = [&](Duration d) {
    clock_.Advance(d);
    if (!sent_click) click = Send(fast, {});
    sent_click = true;
  };
  VersionPin slow = Load(options);
  Send(slow, {});
  Run();
  EXPECT_GT(click.sink->reply().timings.queue, Duration::Millis(99));
}

TEST_F(DeviceLoopTest, RefusesWhatIsCancelledOrExpiredOnArrival) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  const Sent cancelled = Send(fast, {});
  cancelled.call->Cancel();
  const Sent expired = Send(fast, {.deadline = clock_.Now()});
  Run();
  EXPECT_EQ(cancelled.sink->reason(), engine::reason::kCancelled);
  EXPECT_EQ(expired.sink->reason(), engine::reason::kDeadlineAdmission);
  EXPECT_EQ(fast->statistics().snapshot().execution_count, 0);
}

TEST_F(DeviceLoopTest, RefusesOnArrivalWhatTheQueueAheadMakesLate) {
  MakeLoop();
  VersionPin slow = Load(Slow());
  for (int i = 0; i < 3; ++i) Send(slow, {});
  Run();  // now the cost is measured: 100 ms
  const Sent probe = Send(slow, {.deadline = In(50'000)});
  Run();  // the one probe of this second
  std::vector<Sent> in_time;
  for (int i = 0; i < 3; ++i) in_time.push_back(Send(slow, {.deadline = In(310'000)}));
  const Sent late = Send(slow, {.deadline = In(390'000)});
  loop_->RunOnce();
  EXPECT_EQ(late.sink->reason(), engine::reason::kDeadlineAdmission);
  Run();
  for (const Sent& one : in_time) EXPECT_TRUE(one.sink->reply().status.ok());
}

TEST_F(DeviceLoopTest, NeverRefusesAnUnmeasuredShape) {
  MakeLoop();
  VersionPin slow = Load(Slow());
  const Sent sent = Send(slow, {.deadline = In(1'000)});
  Run();
  EXPECT_TRUE(sent.sink->reply().status.ok());
  EXPECT_EQ(slow->statistics().snapshot().late, 1);
}

TEST_F(DeviceLoopTest, AModelThatRefusesRunsOneProbeASecond) {
  MakeLoop();
  VersionPin slow = Load(Slow());
  for (int i = 0; i < 2; ++i) Send(slow, {});
  Run();
  int ran = 0;
  for (int i = 0; i < 50; ++i) {
    const Sent sent = Send(slow, {.deadline = In(10'000)});
    Run();
    ran += sent.sink->reply().status.ok() ? 1 : 0;
    clock_.Advance(Duration::Millis(100));
  }
  EXPECT_GE(ran, 4);
  EXPECT_LE(ran, 7);
}

TEST_F(DeviceLoopTest, DropsFromTheQueueWhatExpiresThere) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  VersionPin slow = Load(Slow());
  DeviceLoop::Options plain;
  const Sent first = Send(slow, {});
  const Sent parked = Send(fast, {.deadline = In(5'000), .park_token = 7});
  Run();
  EXPECT_EQ(parked.sink->reason(), engine::reason::kDeadlineQueue);
  EXPECT_TRUE(first.sink->reply().status.ok());
  EXPECT_EQ(fast->statistics().snapshot().refusals.deadline_queue, 1);
}

TEST_F(DeviceLoopTest, AnEventReadiesAParkedRequest) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  const Sent parked = Send(fast, {.park_token = 7});
  const Sent broken = Send(fast, {.park_token = 8});
  loop_->RunOnce();
  EXPECT_FALSE(parked.sink->answered());
  engine::PostEvent(fast, {7, base::Ok()});
  engine::PostEvent(fast, {8, base::Unavailable("the shard is gone")});
  Run();
  EXPECT_TRUE(parked.sink->reply().status.ok());
  EXPECT_EQ(broken.sink->reply().status.error().message, "the shard is gone");
}

TEST_F(DeviceLoopTest, AFailedLaunchAnswersItsMembers) {
  MakeLoop();
  FakeEngine::Options options = Fast();
  options.batching.rows_max = 4;
  VersionPin pin = Load(options);
  const Sent a = Send(pin, {.fails = true});
  const Sent b = Send(pin, {});
  Run();
  EXPECT_EQ(a.sink->reply().status.error().code, base::Code::kInternal);
  EXPECT_EQ(b.sink->reply().status.error().code, base::Code::kInternal);
  EXPECT_EQ(pin->statistics().snapshot().fail.count, 2);
}

TEST_F(DeviceLoopTest, AbandonsAStepThatNobodyWants) {
  MakeLoop();
  Sent sent;
  FakeEngine::Options options = Slow();
  options.spend = [&](Duration d) {
    clock_.Advance(d);
    sent.call->Cancel();
  };
  VersionPin slow = Load(options);
  sent = Send(slow, {});
  const Time start = clock_.Now();
  Run();
  EXPECT_EQ(sent.sink->reason(), engine::reason::kCancelled);
  EXPECT_LT(clock_.Now() - start, Duration::Millis(2));
}

TEST_F(DeviceLoopTest, AbandonsAStepWhoseDeadlinesHaveAllPassed) {
  MakeLoop();
  double slower = 1;
  FakeEngine::Options options = Slow();
  options.noise = [&] { return slower; };
  VersionPin slow = Load(options);
  for (int i = 0; i < 3; ++i) {
    Send(slow, {});
    Run();
  }
  slower = 5;
  const Time start = clock_.Now();
  const Sent first = Send(slow, {.deadline = In(130'000)});
  Run();
  EXPECT_EQ(first.sink->reason(), engine::reason::kDeadlineStep);
  EXPECT_EQ(first.sink->reply().status.error().code, base::Code::kDeadlineExceeded);
  EXPECT_LT(clock_.Now() - start, Duration::Millis(132));
  const engine::Statistics::Snapshot seen = slow->statistics().snapshot();
  EXPECT_EQ(seen.abandoned, 1);
  EXPECT_EQ(seen.refusals.deadline_step, 1);
  EXPECT_EQ(seen.execution_count, 3);
  // What was seen of it counts: the same again cannot be met, and is told so at once.
  const Sent probe = Send(slow, {.deadline = In(110'000)});
  const Sent second = Send(slow, {.deadline = In(110'000)});
  loop_->RunOnce();
  EXPECT_EQ(second.sink->reason(), engine::reason::kDeadlineAdmission);
  // The probe of the second runs to its end, so that its time is known.
  Run();
  EXPECT_TRUE(probe.sink->reply().status.ok());
  EXPECT_EQ(slow->statistics().snapshot().late, 1);
}

TEST_F(DeviceLoopTest, AStepRunsOnWhileOneMemberMayStillUseIt) {
  MakeLoop();
  double slower = 1;
  FakeEngine::Options options = Slow();
  options.noise = [&] { return slower; };
  options.batching.rows_max = 2;
  VersionPin slow = Load(options);
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 2; ++k) Send(slow, {});
    Run();
  }
  slower = 2;
  const Sent tight = Send(slow, {.deadline = In(150'000)});
  const Sent loose = Send(slow, {});
  Run();
  EXPECT_TRUE(tight.sink->reply().status.ok()) << "late, but done";
  EXPECT_TRUE(loose.sink->reply().status.ok());
  EXPECT_EQ(slow->statistics().snapshot().late, 1);
  EXPECT_EQ(slow->statistics().snapshot().abandoned, 0);
}

TEST_F(DeviceLoopTest, WaitsForCompanyUntilTheDelayOrTheLatestStart) {
  MakeLoop();
  FakeEngine::Options options = Fast();
  options.batching.rows_max = 4;
  options.batching.queue_delay_max = Duration::Millis(5);
  VersionPin pin = Load(options);
  const Sent alone = Send(pin, {});
  Run();
  EXPECT_EQ(alone.sink->reply().timings.queue, Duration::Millis(5));
  const Sent tight = Send(pin, {.deadline = In(2'000)});
  Run();
  EXPECT_TRUE(tight.sink->reply().status.ok());
  EXPECT_LT(tight.sink->reply().timings.queue, Duration::Millis(2));
  std::vector<Sent> full;
  for (int i = 0; i < 4; ++i) full.push_back(Send(pin, {}));
  Run();
  EXPECT_EQ(full[0].sink->reply().timings.queue, Duration{});
}

TEST_F(DeviceLoopTest, UntimedWorkKeepsATenth) {
  MakeLoop();
  FakeEngine::Options options = Slow();
  options.fixed = Duration::Millis(1);
  options.prior = Duration::Millis(1);
  options.batching.requests_max = 100000;
  options.name = "timed";
  VersionPin timed = Load(options);
  options.name = "untimed";
  VersionPin untimed = Load(options);
  for (int i = 0; i < 2000; ++i) {
    Send(timed, {.deadline = In(60'000'000)});
    Send(untimed, {});
  }
  for (int i = 0; i < 1000; ++i) loop_->RunOnce();
  const int64_t ran = untimed->statistics().snapshot().execution_count;
  EXPECT_GE(ran, 95);
  EXPECT_LE(ran, 105);
  Run();
}

TEST_F(DeviceLoopTest, TheInboxRefusesBeyondItsLimit) {
  DeviceLoop::Options options;
  options.inline_below = {};
  options.inbox.requests_max = 3;
  MakeLoop(options);
  VersionPin fast = Load(Fast());
  std::vector<Sent> sent;
  for (int i = 0; i < 5; ++i) sent.push_back(Send(fast, {}));
  EXPECT_EQ(sent[3].sink->reason(), engine::reason::kQueueFull);
  EXPECT_EQ(sent[4].sink->reason(), engine::reason::kQueueFull);
  Run();
  EXPECT_TRUE(sent[2].sink->reply().status.ok());
  EXPECT_TRUE(Send(fast, {}).sink != nullptr);
  Run();
}

TEST_F(DeviceLoopTest, DrainingRefusesNewWorkAndFinishesTheOld) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  const Sent old = Send(fast, {});
  loop_->BeginDrain();
  const Sent fresh = Send(fast, {});
  EXPECT_EQ(fresh.sink->reason(), engine::reason::kDraining);
  EXPECT_TRUE(loop_->WaitDrained(Time::Never()));
  EXPECT_TRUE(old.sink->reply().status.ok());
}

TEST_F(DeviceLoopTest, TheLastPinRetiresTheVersion) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  const Sent sent = Send(fast, {});
  fast.reset();
  EXPECT_TRUE(retired_.empty());
  Run();
  EXPECT_TRUE(sent.sink->reply().status.ok());
  EXPECT_EQ(retired_.size(), 1u);
}

FakeEngine::Options OfMebibytes(int64_t mebibytes) {
  FakeEngine::Options options = Fast();
  options.activation_bytes = mebibytes << 20;
  return options;
}

// Three steps, one in the other, are of three engines.
TEST_F(DeviceLoopTest, ArenasHoldTheLargestStepsOfAsManyEnginesAsNest) {
  MakeLoop();
  std::vector<VersionPin> pins;
  int64_t held = 0;
  for (const auto& [mebibytes, more] : {std::pair{2, 2}, {6, 6}, {2, 2}, {4, 2}, {2, 0}}) {
    pins.push_back(Load(OfMebibytes(mebibytes)));
    held += int64_t{more} << 20;
    EXPECT_EQ(loop_->arena_bytes(), held) << mebibytes;
  }
  const Sent sent = Send(pins[1], {});
  Run();
  EXPECT_TRUE(sent.sink->reply().status.ok());
}

TEST_F(DeviceLoopTest, WithoutNestingArenasHoldTheLargestStep) {
  DeviceLoop::Options options;
  options.nesting = false;
  MakeLoop(options);
  const std::vector<VersionPin> pins = {Load(OfMebibytes(2)), Load(OfMebibytes(6)),
                                        Load(OfMebibytes(4))};
  EXPECT_EQ(loop_->arena_bytes(), 6 << 20);
}

TEST_F(DeviceLoopTest, RefusesAnEngineWhoseActivationsTheLedgerCannotHold) {
  tensor::Ledger ledger("host", 20 << 20);
  DeviceLoop::Options options;
  options.ledger = &ledger;
  MakeLoop(options);
  VersionPin fast = Load(Fast());
  EXPECT_GT(ledger.used_bytes(), 0);
  const int64_t before = ledger.used_bytes();
  FakeEngine::Options large = Fast();
  large.activation_bytes = 20 << 20;  // as much as there is for both
  const auto refused =
      EngineVersion::Create(std::make_unique<FakeEngine>(large), *loop_, [](auto) {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, base::Code::kResourceExhausted);
  EXPECT_EQ(ledger.used_bytes(), before);
  const Sent sent = Send(fast, {});
  Run();
  EXPECT_TRUE(sent.sink->reply().status.ok());
}

TEST_F(DeviceLoopTest, TheExpiredAreAnsweredWhileALongStepRuns) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  Sent parked;
  Time answered;
  const Time start = clock_.Now();
  FakeEngine::Options options = Slow();
  options.spend = [&](Duration d) {
    clock_.Advance(d);
    if (parked.sink->answered() && answered == Time{}) answered = clock_.Now();
  };
  VersionPin slow = Load(options);
  parked = Send(fast, {.deadline = In(10'000), .park_token = 1});
  Send(slow, {});
  Run();
  EXPECT_EQ(parked.sink->reason(), engine::reason::kDeadlineQueue);
  EXPECT_LE(answered, start + Duration::Millis(12));
}

TEST_F(DeviceLoopTest, AdmissionInsideALongStepKnowsThatAShortOneNests) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  for (int i = 0; i < 3; ++i) {
    Send(fast, {});
    Run();  // its cost is measured: only what is known to be late would be refused
  }
  FakeEngine::Options options = Slow();
  std::vector<Sent> clicks;
  options.spend = [&](Duration d) {
    clock_.Advance(d);
    if (clicks.size() < 20) clicks.push_back(Send(fast, {.deadline = In(2'000)}));
  };
  VersionPin slow = Load(options);
  Send(slow, {});
  Run();
  for (const Sent& click : clicks) EXPECT_TRUE(click.sink->reply().status.ok());
}

TEST_F(DeviceLoopTest, TheOuterStepKeepsATenthWhateverNestedStepsReallyTake) {
  MakeLoop();
  FakeEngine::Options liar = Fast();
  liar.fixed = Duration::Millis(30);  // and yet its prior says 2 us
  liar.prior = Duration::Micros(2);
  VersionPin fast = Load(liar);
  FakeEngine::Options options = Slow();
  options.spend = [&](Duration d) {
    clock_.Advance(d);
    Send(fast, {.shape = static_cast<uint64_t>(clock_.Now().ns)});
  };
  VersionPin slow = Load(options);
  const Sent batch = Send(slow, {});
  const Time start = clock_.Now();
  loop_->RunOnce();
  ASSERT_TRUE(batch.sink->answered());
  EXPECT_LE(clock_.Now() - start, Duration::Millis(100 * 10 + 30));
  Run();
}

TEST_F(DeviceLoopTest, AShortStepRunsInsideAMiddlingOneInsideALongOne) {
  MakeLoop();
  VersionPin fast = Load(Fast());
  for (int i = 0; i < 3; ++i) {
    Send(fast, {});
    Run();
  }
  Sent encode;
  std::vector<Sent> clicks;
  FakeEngine::Options options = Fast();
  options.fixed = options.prior = Duration::Millis(7);  // longer than nine quanta
  options.spend = [&](Duration d) {
    clock_.Advance(d);
    if (encode.sink != nullptr && clicks.size() < 30) {
      clicks.push_back(Send(fast, {.deadline = In(2'000)}));
    }
  };
  VersionPin middling = Load(options);
  for (int i = 0; i < 3; ++i) {
    Send(middling, {});
    Run();
  }
  options = Slow();
  options.spend = [&](Duration d) {
    clock_.Advance(d);
    if (encode.sink == nullptr) encode = Send(middling, {.deadline = In(20'000)});
  };
  VersionPin slow = Load(options);
  const Sent batch = Send(slow, {});
  loop_->RunOnce();
  ASSERT_TRUE(encode.sink->answered());
  ASSERT_TRUE(batch.sink->answered());
  EXPECT_TRUE(encode.sink->reply().status.ok());
  // It waits until the outer step has had a ninth of its time.
  EXPECT_GT(encode.sink->reply().timings.queue, Duration::Micros(500));
  EXPECT_LT(encode.sink->reply().timings.queue, Duration::Micros(1'500));
  EXPECT_EQ(encode.sink->reply().timings.compute, Duration::Millis(7));
  ASSERT_EQ(clicks.size(), 30u);
  for (const Sent& click : clicks) {
    EXPECT_TRUE(click.sink->reply().status.ok()) << click.sink->reason();
    EXPECT_LT(click.sink->reply().timings.queue, Duration::Millis(1));
  }
  EXPECT_EQ(batch.sink->reply().timings.compute, Duration::Millis(100));
}

TEST_F(DeviceLoopTest, EachIoThreadIsWokenOnceAStep) {
  struct CountingWaker : engine::Waker {
    void Wake() override { ++wakes; }
    int wakes = 0;
  };
  struct WakingSink : RecordingSink {
    engine::Waker* waker() override { return its_waker; }
    engine::Waker* its_waker = nullptr;
  };
  MakeLoop();
  FakeEngine::Options options = Fast();
  options.batching.rows_max = 8;
  VersionPin pin = Load(options);
  CountingWaker wakers[2];
  for (int i = 0; i < 8; ++i) {
    auto request = std::make_unique<engine::Request>();
    auto sink = std::make_shared<WakingSink>();
    sink->its_waker = &wakers[i % 2];
    request->call = std::make_shared<engine::Call>(engine::Call::Options{});
    request->sink = sink;
    ASSERT_TRUE(pin->engine().Prepare(*request).ok());
    engine::Submit(pin, std::move(request));
  }
  Run();
  EXPECT_EQ(wakers[0].wakes, 1);
  EXPECT_EQ(wakers[1].wakes, 1);
}

}  // namespace
}  // namespace sluice::sim

// A step allocates nothing on the heap.
#include <gtest/gtest.h>

#include "engine/device_loop.h"
#include "heap/heap_allocations.h"
#include "sim/recording_sink.h"

namespace sluice::sim {
namespace {

TEST(StepAllocation, AStepFromInboxToReplyAllocatesNothing) {
  base::VirtualClock clock(base::Time{1'000'000'000});
  engine::DeviceLoop::Options options;
  options.clock = &clock;
  options.threaded = false;
  options.inline_below = {};
  engine::DeviceLoop loop(options);
  std::vector<std::unique_ptr<engine::EngineVersion>> retired;
  FakeEngine::Options fake;
  fake.batching.rows_max = 8;
  fake.spend = [&clock](base::Duration d) { clock.Advance(d); };
  auto pin = engine::EngineVersion::Create(
                 std::make_unique<FakeEngine>(fake), loop,
                 [&retired](auto version) { retired.push_back(std::move(version)); })
                 .value();
  int64_t in_steps = 0;
  std::vector<Sent> sent;
  sent.reserve(4096);
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 20; ++i) {
      sent.push_back(Send(pin, {.deadline = clock.Now() + base::Duration::Seconds(i % 2 + 1)}));
    }
    const int64_t before = heap::Allocations();
    while (loop.RunOnce()) {
    }
    // The first rounds grow vectors to the size that they keep.
    if (round >= 10) in_steps += heap::Allocations() - before;
  }
  EXPECT_EQ(in_steps, 0);
  EXPECT_EQ(loop.unanswered(), 0);
  EXPECT_GT(heap::Allocations(), 2000);  // the counter counts: requests were made in between
  pin.reset();
  sent.clear();
  retired.clear();
}

}  // namespace
}  // namespace sluice::sim

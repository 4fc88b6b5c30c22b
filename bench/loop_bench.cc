// What the device loop itself costs a request: a fake engine whose steps take no time.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "engine/device_loop.h"
#include "sim/fake_engine.h"

namespace sluice {
namespace {

class CountingSink : public engine::ReplySink {
 public:
  void Post(engine::Reply) override { ++answered; }
  int64_t answered = 0;
};

// A loop without a worker and one engine that joins up to `rows_max` rows; nothing here sleeps.
struct Bench {
  explicit Bench(int64_t rows_max, base::Duration inline_below) {
    engine::DeviceLoop::Options options;
    options.threaded = false;
    options.inline_below = inline_below;
    loop = std::make_unique<engine::DeviceLoop>(options);
    sim::FakeEngine::Options fake;
    fake.fixed = base::Duration{};
    fake.batching.rows_max = rows_max;
    pin = engine::EngineVersion::Create(
              std::make_unique<sim::FakeEngine>(fake), *loop,
              [this](auto version) { retired.push_back(std::move(version)); })
              .value();
  }
  ~Bench() {
    pin.reset();
    retired.clear();
  }
  void Submit(base::Time deadline) {
    auto request = std::make_unique<engine::Request>();
    engine::Call::Options call;
    call.deadline = deadline;
    request->call = std::make_shared<engine::Call>(std::move(call));
    request->sink = sink;
    request->prepared = std::make_unique<sim::FakeWork>();
    engine::Submit(pin, std::move(request));
  }

  std::unique_ptr<engine::DeviceLoop> loop;
  std::vector<std::unique_ptr<engine::EngineVersion>> retired;
  std::shared_ptr<const engine::EngineVersion> pin;
  std::shared_ptr<CountingSink> sink = std::make_shared<CountingSink>();
};

void SubmitInline(benchmark::State& state) {
  Bench bench(1, base::Duration::Micros(100));
  for (auto _ : state) {
    bench.Submit(base::Time::Never());
    // After a step that the system interrupted for long, Submit leaves the next one to the worker.
    while (bench.loop->unanswered() > 0) bench.loop->RunOnce();
  }
  state.SetItemsProcessed(bench.sink->answered);
}
BENCHMARK(SubmitInline);

// `range` requests with deadlines wait; then the loop runs until all are answered.
void QueueAndDrain(benchmark::State& state) {
  Bench bench(16, {});
  for (auto _ : state) {
    const base::Time now = base::SystemClock::Get().Now();
    for (int64_t i = 0; i < state.range(0); ++i) {
      bench.Submit(now + base::Duration::Seconds(1 + i * 7919 % 13));
    }
    while (bench.loop->unanswered() > 0) bench.loop->RunOnce();
  }
  state.SetItemsProcessed(bench.sink->answered);
}
BENCHMARK(QueueAndDrain)->Arg(1)->Arg(16)->Arg(256)->Arg(4096);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();

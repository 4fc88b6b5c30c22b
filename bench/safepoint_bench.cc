// What safepoints are worth: the latency of a 2 us model beside long steps on the same core, with
// nesting and without.
//
//   safepoint_bench [--model DIR] [--rows N] [--length N] [--long-ms N] [--rate HZ] [--seconds N]
//   [--rounds N]
//
// Without --model the long steps are a fake's (--long-ms, spinning, a safepoint every 200 us); with
// it they are those of the ONNX encoder in DIR/model.onnx on N rows of the given length. The
// process pins itself to one core. Clicks arrive at Poisson times at --rate; a long step is always
// in flight. Rounds with and without nesting alternate.
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/device_loop.h"
#include "engine/doorbell.h"
#include "infer/infer_engine.h"
#include "sim/fake_engine.h"

namespace sluice {
namespace {

using base::Duration;
using base::Time;

struct Flags {
  std::string model;
  int64_t rows = 8;
  int64_t length = 128;
  int64_t long_ms = 100;
  int64_t rate = 200;
  int64_t seconds = 5;
  int64_t rounds = 2;
};

Time Now() {
  return base::SystemClock::Get().Now();
}

void SleepUntil(Time until) {
  timespec at{};
  at.tv_sec = until.ns / 1'000'000'000;
  at.tv_nsec = until.ns % 1'000'000'000;
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
}

// Notes when the answer came.
class TimedSink : public engine::ReplySink {
 public:
  void Post(engine::Reply reply) override {
    if (!reply.status.ok()) std::fprintf(stderr, "%s\n", reply.status.error().message.c_str());
    answered_.store(Now().ns, std::memory_order_release);
    bell_.Ring();
  }
  void Wait() {
    for (uint32_t ticket = bell_.Ticket(); answered() == 0; ticket = bell_.Ticket()) {
      if (answered() == 0) bell_.Wait(ticket, Time::Never());
    }
  }
  int64_t answered() const { return answered_.load(std::memory_order_acquire); }

 private:
  std::atomic<int64_t> answered_{0};
  engine::Doorbell bell_;
};

std::unique_ptr<engine::Engine> MakeFake(const char* name, Duration fixed) {
  sim::FakeEngine::Options options;
  options.name = name;
  options.fixed = fixed;
  options.prior = fixed;
  options.piece = Duration::Micros(200);
  options.spend = sim::SpinFor;
  options.batching.rows_max = 1;
  return std::make_unique<sim::FakeEngine>(std::move(options));
}

base::Result<std::unique_ptr<engine::Engine>> MakeLong(const Flags& flags) {
  if (flags.model.empty()) return MakeFake("long", Duration::Millis(flags.long_ms));
  infer::Options options;
  options.model = "encoder";
  options.version = 1;
  return infer::Load(flags.model, options);
}

std::unique_ptr<engine::Request> LongRequest(const engine::Engine& model, const Flags& flags) {
  auto request = std::make_unique<engine::Request>();
  request->call = std::make_shared<engine::Call>(engine::Call::Options{});
  if (!flags.model.empty()) {
    for (const engine::TensorSpec& spec : model.description().inputs) {
      tensor::Tensor ones =
          tensor::Tensor::Allocate(tensor::DType::kI64, {flags.rows, flags.length}, 1 << 26)
              .value();
      for (int64_t& id : ones.mutable_view().span<int64_t>()) id = 1;
      request->inputs.push_back({spec.name, std::move(ones)});
    }
  }
  return request;
}

struct Latencies {
  std::vector<double> us;
  double long_steps = 0;
  double long_ms = 0;
};

base::Status Round(const Flags& flags, bool nesting, uint64_t seed, Latencies& out) {
  engine::DeviceLoop::Options options;
  options.nesting = nesting;
  engine::DeviceLoop loop(options);
  std::vector<std::unique_ptr<engine::EngineVersion>> retired;
  const auto retire = [&](std::unique_ptr<engine::EngineVersion> last) {
    retired.push_back(std::move(last));
  };
  std::unique_ptr<engine::Engine> long_engine = TRY(MakeLong(flags));
  auto slow = TRY(engine::EngineVersion::Create(std::move(long_engine), loop, retire));
  auto click =
      TRY(engine::EngineVersion::Create(MakeFake("click", Duration::Micros(2)), loop, retire));
  const auto submit = [](const auto& pin, std::unique_ptr<engine::Request> request) {
    auto sink = std::make_shared<TimedSink>();
    if (request->call == nullptr) {
      request->call = std::make_shared<engine::Call>(engine::Call::Options{});
    }
    request->sink = sink;
    const base::Status prepared = pin->engine().Prepare(*request);
    CHECK(prepared.ok()) << prepared.error().message;
    engine::Submit(pin, std::move(request));
    return sink;
  };
  for (int i = 0; i < 3; ++i) {  // so that both costs are measured
    submit(slow, LongRequest(slow->engine(), flags))->Wait();
    submit(click, std::make_unique<engine::Request>())->Wait();
  }
  std::atomic<bool> done{false};
  std::thread crowd([&] {
    while (!done.load()) submit(slow, LongRequest(slow->engine(), flags))->Wait();
  });
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap(static_cast<double>(flags.rate));
  std::vector<std::pair<Time, std::shared_ptr<TimedSink>>> sent;
  const Time end = Now() + Duration::Seconds(flags.seconds);
  for (Time next = Now(); next < end;
       next = next + Duration{static_cast<int64_t>(gap(random) * 1e9)}) {
    SleepUntil(next);
    // The latency counts from when the click should have arrived: nothing is omitted while this
    // thread is late.
    sent.emplace_back(next, submit(click, std::make_unique<engine::Request>()));
  }
  for (auto& [at, sink] : sent) {
    sink->Wait();
    out.us.push_back(static_cast<double>(sink->answered() - at.ns) / 1e3);
  }
  done.store(true);
  crowd.join();
  const engine::Statistics::Snapshot seen = slow->statistics().snapshot();
  out.long_steps += static_cast<double>(seen.execution_count);
  out.long_ms += static_cast<double>(seen.infer.ns) / 1e6;
  loop.BeginDrain();
  loop.WaitDrained(Time::Never());
  // Once drained, these are the last pins: they retire on this thread.
  slow.reset();
  click.reset();
  retired.clear();
  return base::Ok();
}

void Print(const char* name, Latencies& latencies) {
  std::sort(latencies.us.begin(), latencies.us.end());
  const auto at = [&](double q) {
    return latencies.us[static_cast<size_t>(q * static_cast<double>(latencies.us.size() - 1))];
  };
  std::printf(
      "%-18s %7zu clicks  p50 %10.1f us  p99 %10.1f us  max %10.1f us   long step %8.1f ms\n", name,
      latencies.us.size(), at(0.5), at(0.99), at(1.0), latencies.long_ms / latencies.long_steps);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  sluice::Flags flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const auto number = [&] {
      return std::max<int64_t>(1, std::strtoll(argv[i + 1], nullptr, 10));
    };
    if (name == "--model") flags.model = argv[i + 1];
    if (name == "--rows") flags.rows = number();
    if (name == "--length") flags.length = number();
    if (name == "--long-ms") flags.long_ms = number();
    if (name == "--rate") flags.rate = number();
    if (name == "--seconds") flags.seconds = number();
    if (name == "--rounds") flags.rounds = number();
  }
  cpu_set_t allowed;
  cpu_set_t one;
  sched_getaffinity(0, sizeof allowed, &allowed);
  CPU_ZERO(&one);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed)) continue;
    CPU_SET(core, &one);
    break;
  }
  sched_setaffinity(0, sizeof one, &one);
  sluice::Latencies with;
  sluice::Latencies without;
  for (int64_t round = 0; round < flags.rounds; ++round) {
    for (const bool nesting : {true, false}) {
      const auto done =
          sluice::Round(flags, nesting, static_cast<uint64_t>(round) + 1, nesting ? with : without);
      if (!done.ok()) {
        std::fprintf(stderr, "safepoint_bench: %s\n", done.error().message.c_str());
        return 1;
      }
    }
  }
  sluice::Print("with safepoints", with);
  sluice::Print("without", without);
  return 0;
}

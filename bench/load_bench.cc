// load_bench FOLDER [CACHE [first]]: where the time goes from a version folder to its first answer,
// with the weights packed anew and with them mapped from the folder CACHE: in a process that loads
// its first model (with "first" that alone), and again in one that has loaded it before. FOLDER
// holds a model.onnx. The least of some rounds in milliseconds, and what several instances hold.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/processor_time.h"
#include "engine/device_loop.h"
#include "graph/model.h"
#include "infer/infer_engine.h"
#include "kernels/weight_store.h"

namespace {

using sluice::base::ProcessorSeconds;
using sluice::base::SystemClock;

constexpr int kRounds = 5;
constexpr int kInstances = 4;

double Since(sluice::base::Time start) {
  return static_cast<double>((SystemClock::Get().Now() - start).ns) / 1e6;
}

// Milliseconds that this thread has run since then.
double Used(double start) {
  return (ProcessorSeconds() - start) * 1e3;
}

double ResidentMiB() {
  std::ifstream statm("/proc/self/statm");
  int64_t all = 0, resident = 0;
  statm >> all >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// Once what is touched beside the loop has been: the same in ten looks, at most 3 s.
double SettledMiB() {
  constexpr int kLooks = 150;
  double last = ResidentMiB();
  for (int i = 0, same = 0; i < kLooks && same < 10; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const double now = ResidentMiB();
    same = now == last ? same + 1 : 0;
    last = now;
  }
  return last;
}

class Sink : public sluice::engine::ReplySink {
 public:
  void Post(sluice::engine::Reply reply) override {
    ok = reply.status.ok();
    answered.store(true);
    answered.notify_all();
  }
  std::atomic<bool> answered{false};
  bool ok = false;
};

struct Times {
  double read = 1e9, compile = 1e9;               // processor time
  double load = 1e9, attach = 1e9, answer = 1e9;  // the same
  double ready = 1e9;                             // by the clock
};

template <class T>
T Must(sluice::base::Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "load_bench: %s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

struct Instance {
  sluice::engine::DeviceLoop* loop = nullptr;
  std::vector<std::unique_ptr<sluice::engine::EngineVersion>> retired;
  std::shared_ptr<const sluice::engine::EngineVersion> pin;
  ~Instance() {
    loop->WaitDrained(sluice::base::Time::Never());  // its requests let go of their pins
    pin.reset();
    retired.clear();
  }
};

std::unique_ptr<Instance> Ready(const std::string& folder, sluice::engine::DeviceLoop& loop,
                                Times& times) {
  auto instance = std::make_unique<Instance>();
  instance->loop = &loop;
  const auto start = SystemClock::Get().Now();
  const auto load = ProcessorSeconds();
  auto engine = Must(sluice::infer::Load(folder, {}));
  times.load = std::min(times.load, Used(load));
  const auto attach = ProcessorSeconds();
  auto* const raw = static_cast<sluice::infer::InferEngine*>(engine.get());
  Instance* const its = instance.get();
  instance->pin =
      Must(sluice::engine::EngineVersion::Create(std::move(engine), loop, [its](auto version) {
        its->retired.push_back(std::move(version));
      }));
  times.attach = std::min(times.attach, Used(attach));
  const auto answer = ProcessorSeconds();
  auto request = Must(sluice::infer::MakeWarmUp(*raw, 1));
  auto sink = std::make_shared<Sink>();
  request->sink = sink;
  sluice::engine::Submit(instance->pin, std::move(request));
  sink->answered.wait(false);
  if (!sink->ok) std::fprintf(stderr, "load_bench: the first answer is an error\n");
  times.answer = std::min(times.answer, Used(answer));
  times.ready = std::min(times.ready, Since(start));
  return instance;
}

Times Measure(const std::string& folder) {
  Times times;
  for (int round = 0; round < kRounds; ++round) {
    auto start = ProcessorSeconds();
    auto model = Must(sluice::graph::ReadOnnxFile(folder + "/model.onnx", {}));
    times.read = std::min(times.read, Used(start));
    start = ProcessorSeconds();
    const auto compiled = Must(sluice::graph::Model::Compile(std::move(model), {}));
    times.compile = std::min(times.compile, Used(start));
  }
  for (int round = 0; round < kRounds; ++round) {
    sluice::engine::DeviceLoop loop({});
    Ready(folder, loop, times);
  }
  return times;
}

void UseCache(const char* cache) {
  sluice::kernels::WeightStore::Process().UseCache(
      Must(sluice::kernels::WeightCache::Open({cache, int64_t{16} << 30})));
}

Times Least(const Times& a, const Times& b) {
  return {std::min(a.read, b.read),     std::min(a.compile, b.compile), std::min(a.load, b.load),
          std::min(a.attach, b.attach), std::min(a.answer, b.answer),   std::min(a.ready, b.ready)};
}

// Each round in a process of its own, which has loaded nothing before. To be called before this
// one starts a thread.
Times MeasureFirst(const std::string& folder, const char* cache) {
  Times least;
  for (int round = 0; round < kRounds; ++round) {
    int ends[2];
    if (pipe(ends) != 0) std::exit(1);
    const pid_t child = fork();
    if (child == 0) {
      if (cache != nullptr) UseCache(cache);
      Times times;
      {
        sluice::engine::DeviceLoop loop({});
        Ready(folder, loop, times);
      }
      _exit(write(ends[1], &times, sizeof times) == sizeof times ? 0 : 1);
    }
    close(ends[1]);
    Times times;
    if (read(ends[0], &times, sizeof times) == sizeof times) least = Least(least, times);
    close(ends[0]);
    waitpid(child, nullptr, 0);
  }
  return least;
}

void Print(const char* what, const Times& times) {
  if (times.read < 1e9) {
    std::printf("%-14s read %7.1f  passes and weights %7.1f ms\n", what, times.read, times.compile);
  }
  std::printf("%-14s load %7.1f  attach %6.1f  first answer %6.1f  ready %7.1f ms\n", what,
              times.load, times.attach, times.answer, times.ready);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: load_bench FOLDER [CACHE [first]]\n");
    return 2;
  }
  const std::string folder = argv[1];
  if (argc > 3) {
    Print("first, mapped", MeasureFirst(folder, argv[2]));
    return 0;
  }
  Print("first, anew", MeasureFirst(folder, nullptr));
  if (argc > 2) {
    MeasureFirst(folder, argv[2]);  // fills the cache
    Print("first, mapped", MeasureFirst(folder, argv[2]));
  }
  sluice::kernels::WeightStore& store = sluice::kernels::WeightStore::Process();
  Print("packed anew", Measure(folder));
  if (argc > 2) {
    UseCache(argv[2]);
    Print("mapped", Measure(folder));
  }
  sluice::engine::DeviceLoop loop({});
  std::vector<std::unique_ptr<Instance>> instances;
  for (int i = 0; i < kInstances; ++i) {
    Times ignored;
    instances.push_back(Ready(folder, loop, ignored));
    std::printf("%d instances: %ld packed weights, %.1f MiB; the process %.1f MiB\n", i + 1,
                static_cast<long>(store.resident_count()),
                static_cast<double>(store.resident_bytes()) / (1 << 20), SettledMiB());
  }
}

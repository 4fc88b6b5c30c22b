// inline_bench FOLDER [ROWS]: what a small model costs in the engine, without a server: nanoseconds
// of Prepare and from Submit to the posted reply, which the calling thread runs itself under the
// loop's lease. FOLDER holds a model.onnx whose inputs are open in their rows only.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/device_loop.h"
#include "infer/infer_engine.h"

namespace {

using sluice::base::SystemClock;

constexpr int kWarm = 2000;
constexpr int kRuns = 20000;

class Sink : public sluice::engine::ReplySink {
 public:
  void Post(sluice::engine::Reply posted) override {
    ok = ok && posted.status.ok();
    ++answers;
    reply = std::move(posted);
  }
  bool ok = true;
  int64_t answers = 0;
  sluice::engine::Reply reply;
};

void Print(const char* what, std::vector<int64_t>& ns) {
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double q) {
    return static_cast<long>(ns[static_cast<size_t>(q * static_cast<double>(ns.size() - 1))]);
  };
  std::printf("%-26s min %6ld  median %6ld  p99 %6ld ns\n", what, at(0), at(0.5), at(0.99));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: inline_bench FOLDER [ROWS]\n");
    return 2;
  }
  const int64_t rows = argc > 2 ? std::atoll(argv[2]) : 1;
  auto loaded = sluice::infer::Load(argv[1], {});
  if (!loaded.ok()) {
    std::fprintf(stderr, "inline_bench: %s\n", loaded.error().message.c_str());
    return 1;
  }
  auto* const engine = static_cast<sluice::infer::InferEngine*>(loaded->get());
  sluice::engine::DeviceLoop::Options options;
  options.threaded = false;
  sluice::engine::DeviceLoop loop(options);
  std::vector<std::unique_ptr<sluice::engine::EngineVersion>> retired;
  auto pin =
      sluice::engine::EngineVersion::Create(std::move(loaded).value(), loop, [&](auto version) {
        retired.push_back(std::move(version));
      }).value();
  auto sink = std::make_shared<Sink>();
  std::vector<int64_t> prepare, submit, compute;
  for (int i = 0; i < kWarm + kRuns; ++i) {
    auto request = sluice::infer::MakeWarmUp(*engine, rows);
    if (!request.ok()) {
      std::fprintf(stderr, "inline_bench: %s\n", request.error().message.c_str());
      return 1;
    }
    (*request)->sink = sink;
    const auto start = SystemClock::Get().Now();
    (void)pin->engine().Prepare(**request);
    const auto prepared = SystemClock::Get().Now();
    sluice::engine::Submit(pin, std::move(*request));
    const auto done = SystemClock::Get().Now();
    // After a step that the system interrupted for long, the next one is left to the worker.
    const bool here = loop.unanswered() == 0;
    while (loop.unanswered() > 0) loop.RunOnce();
    if (i < kWarm || !here) continue;
    prepare.push_back((prepared - start).ns);
    submit.push_back((done - prepared).ns);
    compute.push_back(sink->reply.timings.compute.ns);
  }
  std::printf("%ld answers, all %s\n", static_cast<long>(sink->answers), sink->ok ? "good" : "BAD");
  Print("prepare", prepare);
  Print("submit to reply", submit);
  Print("of it in the plan's steps", compute);
  pin.reset();
  retired.clear();
}

#include "bin/load.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <mutex>
#include <random>
#include <thread>

#include "base/thread_slice.h"

namespace sluice::bin {
namespace {

using base::Duration;
using base::SystemClock;
using base::Time;

// Below this a sleeping thread wakes up too late to keep a schedule: it polls the clock instead.
constexpr Duration kSpinBelow = Duration::Micros(80);

void WaitUntil(Time when) {
  const SystemClock& clock = SystemClock::Get();
  for (;;) {
    const Time now = clock.Now();
    if (now >= when) return;
    const Duration left = when - now;
    if (left > kSpinBelow) {
      std::this_thread::sleep_for(std::chrono::nanoseconds((left - kSpinBelow).ns));
    }
  }
}

// Arrival times, handed out one at a time in order. Any thread.
class Arrivals {
 public:
  Arrivals(double rate, uint64_t seed, Time start, Time end)
      : random_(seed), gap_(rate), next_(start), end_(end) {}

  // The next scheduled arrival, or Never when the run is over.
  Time Take() {
    const std::lock_guard lock(mutex_);
    if (next_ >= end_) return Time::Never();
    const Time taken = next_;
    next_ = next_ + Duration{static_cast<int64_t>(gap_(random_) * 1e9)};
    return taken;
  }
  // How many arrivals lie before the end and were never taken.
  int64_t CountLeft() {
    int64_t left = 0;
    while (!Take().never()) ++left;
    return left;
  }

 private:
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::exponential_distribution<double> gap_;
  Time next_;
  const Time end_;
};

// What one thread saw.
struct Tally {
  LatencyHistogram latency;
  int64_t succeeded = 0;
  int64_t failed = 0;
  std::string first_failure;
};

void Record(Tally& tally, const base::Status& status, Duration latency) {
  if (status.ok()) {
    ++tally.succeeded;
    tally.latency.Record(latency);
    return;
  }
  if (tally.failed++ == 0) {
    tally.first_failure =
        std::string(base::CodeName(status.error().code)) + ": " + status.error().message;
  }
}

void RunCaller(Caller& caller, Arrivals* arrivals, Time measure_from, Time end, Tally& tally) {
  const SystemClock& clock = SystemClock::Get();
  bool first = true;  // a closed loop makes at least one call, however late its thread began
  for (;;) {
    Time from = clock.Now();
    if (from >= end && !(first && arrivals == nullptr)) return;
    first = false;
    if (arrivals != nullptr) {
      from = arrivals->Take();
      if (from.never()) return;
      WaitUntil(from);
    }
    const base::Status status = caller.Call();
    if (from >= measure_from) Record(tally, status, clock.Now() - from);
  }
}

}  // namespace

size_t LatencyHistogram::Bucket(int64_t ns) {
  const auto value = static_cast<uint64_t>(std::max<int64_t>(ns, 1));
  const int top = 63 - std::countl_zero(value);
  if (top < kSubBits) return static_cast<size_t>(value);
  const auto sub = static_cast<size_t>((value >> (top - kSubBits)) - (uint64_t{1} << kSubBits));
  return (static_cast<size_t>(top - kSubBits + 1) << kSubBits) + sub;
}

int64_t LatencyHistogram::UpperBound(size_t bucket) {
  const size_t octave = bucket >> kSubBits;
  const auto sub = static_cast<int64_t>(bucket & ((size_t{1} << kSubBits) - 1));
  if (octave == 0) return sub;
  const int64_t unit = int64_t{1} << (octave - 1);
  return ((int64_t{1} << kSubBits) + sub + 1) * unit - 1;
}

void LatencyHistogram::Record(Duration latency) {
  ++counts_[std::min(Bucket(latency.ns), kBuckets - 1)];
  ++count_;
  sum_ns_ += latency.ns;
  max_ns_ = std::max(max_ns_, latency.ns);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ns_ += other.sum_ns_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

Duration LatencyHistogram::mean() const {
  return {count_ > 0 ? sum_ns_ / count_ : 0};
}

Duration LatencyHistogram::Quantile(double q) const {
  const auto wanted = static_cast<int64_t>(std::ceil(q * static_cast<double>(count_)));
  int64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    if (seen >= wanted && seen > 0) return {std::min(UpperBound(i), max_ns_)};
  }
  return {};
}

int64_t LatencyHistogram::AtMost(Duration bound) const {
  int64_t seen = 0;
  for (size_t i = 0; i < kBuckets && UpperBound(i) <= bound.ns; ++i) seen += counts_[i];
  return seen;
}

base::Result<LoadReport> RunLoad(
    const LoadOptions& options,
    const std::function<base::Result<std::unique_ptr<Caller>>()>& connect) {
  std::vector<std::unique_ptr<Caller>> callers;
  for (int64_t i = 0; i < options.connections; ++i) callers.push_back(TRY(connect()));
  const Time start = SystemClock::Get().Now();
  const Time measure_from = start + options.warm_up;
  const Time end = measure_from + options.duration;
  std::unique_ptr<Arrivals> arrivals;
  if (options.rate > 0) {
    arrivals = std::make_unique<Arrivals>(options.rate, options.seed, start, end);
  }
  std::vector<Tally> tallies(callers.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < callers.size(); ++i) {
    threads.emplace_back([&, i] {
      base::AskForSlice(base::kBriefSlice);  // being late itself, it would measure itself
      RunCaller(*callers[i], arrivals.get(), measure_from, end, tallies[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  LoadReport report;
  report.took = SystemClock::Get().Now() - measure_from;
  if (arrivals != nullptr) report.unsent = arrivals->CountLeft();
  for (const Tally& tally : tallies) {
    report.latency.Merge(tally.latency);
    report.succeeded += tally.succeeded;
    report.failed += tally.failed;
    if (report.first_failure.empty()) report.first_failure = tally.first_failure;
  }
  return report;
}

}  // namespace sluice::bin

// Load: drives a server with closed-loop or open-loop requests and tells latencies and goodput.
// Knows no protocol.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace sluice::bin {

// Latencies in log-linear buckets: 32 to each power of two, so a quantile is at most 3.2 % too
// high. Fixed memory, 1 ns to 2^62 ns. Not thread-safe: each caller has its own and they are
// merged.
class LatencyHistogram {
 public:
  void Record(base::Duration latency);
  void Merge(const LatencyHistogram& other);
  int64_t count() const { return count_; }
  base::Duration mean() const;
  base::Duration max() const { return {max_ns_}; }
  // The smallest bucket bound that at least `q` (0 to 1) of the values do not exceed; zero when
  // empty.
  base::Duration Quantile(double q) const;
  // How many were at most `bound`, to the bucket's precision.
  int64_t AtMost(base::Duration bound) const;

 private:
  static constexpr int kSubBits = 5;
  static constexpr size_t kBuckets = (63 - kSubBits + 1) << kSubBits;
  static size_t Bucket(int64_t ns);
  static int64_t UpperBound(size_t bucket);

  std::array<int64_t, kBuckets> counts_{};
  int64_t count_ = 0;
  int64_t sum_ns_ = 0;
  int64_t max_ns_ = 0;
};

// One connection of the load: makes a request and returns when its answer is there. Used by one
// thread.
class Caller {
 public:
  virtual ~Caller() = default;
  virtual base::Status Call() = 0;
};

struct LoadOptions {
  int64_t connections = 1;
  double rate = 0;  // requests a second in all, Poisson arrivals; 0: closed loop, each caller as
                    // fast as it can
  base::Duration duration = base::Duration::Seconds(5);
  base::Duration warm_up = base::Duration::Millis(500);
  base::Duration bound = base::Duration::Millis(50);  // goodput counts answers within it
  uint64_t seed = 1;
};

struct LoadReport {
  LatencyHistogram
      latency;  // of successful answers; open loop: from the scheduled arrival, waiting included
  int64_t succeeded = 0;
  int64_t failed = 0;
  int64_t unsent = 0;  // open loop: arrivals whose turn did not come before the end
  base::Duration took;
  std::string first_failure;

  double rate() const { return static_cast<double>(succeeded) / took.seconds(); }
  double goodput(base::Duration bound) const {
    return static_cast<double>(latency.AtMost(bound)) / took.seconds();
  }
};

// Runs the load: one thread a connection. `connect` is called once a connection, before the clock
// starts; its error ends the run.
base::Result<LoadReport> RunLoad(
    const LoadOptions& options,
    const std::function<base::Result<std::unique_ptr<Caller>>()>& connect);

}  // namespace sluice::bin

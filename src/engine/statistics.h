// What a model version did: counts and times in the terms of Triton's statistics, refusals by
// reason, histograms. Written by the loop, read by whoever scrapes; neither ever waits for the
// other.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine/request.h"

namespace sluice::engine {

struct Step;

// How often something happened and how long it took in all.
struct CountTime {
  int64_t count = 0;
  int64_t ns = 0;
};

// Where distributions are observed: series of a metrics registry, or, where one is null, a
// histogram of the statistics' own.
struct Histograms {
  std::shared_ptr<base::Histogram> queue_us;  // of answered requests
  std::shared_ptr<base::Histogram> step_us;   // compute time of steps
  std::shared_ptr<base::Histogram> step_rows;
  std::shared_ptr<base::Histogram> slack_us;  // deadline minus reply, of what was in time
};

// Why a request ended without being computed, and what was computed too late.
struct Refusals {
  int64_t queue_full = 0;
  int64_t deadline_admission = 0;
  int64_t deadline_queue = 0;
  int64_t deadline_step = 0;
  int64_t cancelled = 0;
  int64_t draining = 0;
};

// One per EngineVersion. RecordSubmit, RecordAtOnce, and RecordReply of what was refused: any
// thread. The other Record…: the lease holder. snapshot: any thread; its numbers are each exact,
// but taken one after the other.
class Statistics {
 public:
  static constexpr int64_t kRowsMax = 1024;

  // `rows_max`: the largest step; what is larger than it, or than kRowsMax, is counted with it.
  explicit Statistics(int64_t rows_max, Histograms histograms = {});

  void RecordSubmit() { Add(pending_, 1); }
  // The request's terminal reply. `request` tells rows, enqueued and deadline.
  void RecordReply(const Request& request, const Reply& reply, base::Time now);
  // What needed no step: counted as answered, from its arrival to `now`. Any thread.
  void RecordAtOnce(const Request& request, base::Time now) {
    at_once_.Record(now - request.arrival);
  }
  void RecordStep(const Step& step, base::Time committed);
  void RecordAbandoned() { Add(abandoned_, 1); }

  struct Batch {
    int64_t rows = 0;
    CountTime input, infer, output;
  };
  struct Snapshot {
    int64_t inference_count = 0;    // rows answered with success
    int64_t execution_count = 0;    // steps
    int64_t last_inference_ms = 0;  // UNIX time of the last request that was answered; 0: none
    int64_t pending = 0;            // requests not answered yet
    int64_t late = 0;               // answered with success after their deadline
    int64_t abandoned = 0;          // steps that were not run to their end
    CountTime success, fail, queue, input, infer, output, cancelled;
    Refusals refusals;
    std::vector<Batch> batches;  // of the sizes that occurred, ascending
  };
  Snapshot snapshot() const;
  const Histograms& histograms() const { return histograms_; }  // none is null

 private:
  struct Tally {
    std::atomic<int64_t> count{0}, ns{0};
    void Record(base::Duration took) {
      Add(count, 1);
      Add(ns, took.ns);
    }
    void Count(base::Duration took) {
      AddAlone(count, 1);
      AddAlone(ns, took.ns);
    }
    CountTime get() const {
      return {count.load(std::memory_order_relaxed), ns.load(std::memory_order_relaxed)};
    }
  };
  struct Sized {
    Tally input, infer, output;
  };
  static void Add(std::atomic<int64_t>& to, int64_t n) {
    to.fetch_add(n, std::memory_order_relaxed);
  }
  // Where only the lease holder writes: no locked instruction, of which a small request would pay a
  // dozen.
  static void AddAlone(std::atomic<int64_t>& to, int64_t n) {
    to.store(to.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void RecordRefusal(const char* why);

  const int64_t rows_max_;
  std::atomic<int64_t> inference_count_{0}, execution_count_{0}, last_inference_ms_{0};
  std::atomic<int64_t> pending_{0}, late_{0}, abandoned_{0};
  std::atomic<int64_t> queue_full_{0}, deadline_admission_{0}, deadline_queue_{0};
  std::atomic<int64_t> deadline_step_{0}, draining_{0};
  Tally success_, fail_, queue_, input_, infer_, output_, cancelled_, at_once_;
  std::unique_ptr<Sized[]> batches_;  // [rows_max + 1]
  Histograms histograms_;
};

}  // namespace sluice::engine

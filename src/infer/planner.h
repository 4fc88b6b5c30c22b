// Planner: the service thread that makes the plans that loops ask for.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "base/result.h"
#include "engine/doorbell.h"
#include "engine/version.h"
#include "infer/plan_family.h"

namespace sluice::infer {

struct ServedModel;

// Adds to `family` the plan for one row and the one for `rows` rows, or for as many as fit into a
// slot's memory, and makes it ready, or says why it cannot be. Any thread but a loop; up to some
// milliseconds.
void AddPlans(const ServedModel& served, PlanFamily& family, int64_t rows);

// Thread-safe. Whoever made it keeps it until no engine that uses it is left.
class Planner {
 public:
  struct Options {
    int64_t jobs_max = 1024;  // that wait
    bool threaded = true;     // false: the owner calls RunOnce (tests)
    int nice = 5;             // below io and compute threads
  };
  struct Job {
    std::shared_ptr<const ServedModel> served;
    std::shared_ptr<PlanFamily> family;
    int64_t rows = 1;  // of a plan of `family`; null: of a ragged plan
    // Whose engine parks requests until the family is ready: an event is posted. Null: nobody.
    std::shared_ptr<const engine::EngineVersion> waiter;
    Job* next = nullptr;  // the planner's own
  };

  explicit Planner(Options options);
  Planner() : Planner(Options()) {}
  ~Planner();  // runs what waits first
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;

  // Never waits. False: too many jobs wait.
  bool Enqueue(std::unique_ptr<Job> job);
  // Runs the jobs that wait. False: there was none.
  bool RunOnce();
  int64_t jobs() const { return jobs_.load(std::memory_order_relaxed); }
  int64_t plans_made() const { return plans_made_.load(std::memory_order_relaxed); }

 private:
  void Main();
  void Run(Job& job);

  const Options options_;
  std::atomic<Job*> newest_{nullptr};
  std::atomic<int64_t> jobs_{0};
  std::atomic<int64_t> plans_made_{0};
  std::atomic<bool> stopping_{false};
  engine::Doorbell doorbell_;
  std::thread thread_;
};

}  // namespace sluice::infer

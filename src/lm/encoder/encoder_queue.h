// The requests that wait for an encoder, each of many sequences, and the policy that joins
// sequences into steps.
//
// It knows units of cost, deadlines and priorities; no tokens and no tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "base/clock.h"
#include "engine/backlog.h"
#include "engine/cost_model.h"
#include "engine/engine.h"

namespace sluice::lm {

// Owned by its engine; the lease holder only.
//
// The most urgent request leads: by priority, then deadline, then arrival. Its sequences join a
// step in their order until the step is full; then those of the next one, as long as no member
// would miss its deadline by their joining. A request of more than one step keeps its place and
// yields between steps to what is more urgent. What cannot meet its deadline any more is dropped.
class EncoderQueue {
 public:
  struct Options {
    int64_t step_units_max = 1024;  // a single sequence may be more
    int64_t step_sequences_max = 1024;
    int priority_levels = 1;  // at most engine::Backlog::kLevelsMax
    int priority_default = 1;
    int64_t requests_max = 8192;
    int64_t bytes_max = int64_t{256} << 20;  // of the payloads of all that wait
  };
  static constexpr int64_t kSweepMax = 512;  // requests that one Sweep looks at for cancellation

  struct Entry {
    std::unique_ptr<engine::Request> request;
    std::vector<int32_t> units;  // of each sequence
    int64_t units_left = 0;      // of those in no step yet
    int64_t next = 0;            // the first sequence in no step yet
    int64_t done = 0;            // sequences that are computed
    int32_t steps = 0;           // that hold some of it
    bool probe = false;          // runs although it will be late
    bool abandoned = false;      // by a step: it ends when no step holds it any more

    int64_t sequences() const { return static_cast<int64_t>(units.size()); }

   private:
    friend class EncoderQueue;
    size_t index = 0;
    int level = 0;  // 0 is priority 1
    base::Time deadline;
    int64_t arrival = 0;
    engine::Backlog::Work counted;
    int deadline_slice = 0;
    int start_slice = 0;
    bool is_counted = false;
    bool in_loop = false;  // counted in the loop's backlog as well
  };
  // Sequences of a request that are in a step.
  struct Member {
    Entry* entry = nullptr;
    int64_t first = 0;
    int64_t count = 0;
  };

  // `costs` outlives the queue.
  EncoderQueue(const Options& options, engine::CostModel& costs);

  // Takes the request, whose sequences cost `units`, unless it returns kQueueFull or kTooLate.
  engine::Admission Add(std::unique_ptr<engine::Request>& request, std::vector<int32_t> units,
                        const engine::Outlook& outlook);
  const engine::Offer* BestOffer(base::Time now, engine::WorkClass work);
  // Moves sequences into `members` (empty, its capacity reserved), and sets step.rows to their
  // units, step.predicted and step.probe. False: nothing was left to take.
  bool Take(const engine::Offer& offer, engine::Step& step, std::vector<Member>& members,
            engine::Replies& replies);
  // A step does not hold the member any more; `computed`: its sequences are done.
  void Return(const Member& member, bool computed);
  // Takes a request out that no step holds.
  std::unique_ptr<engine::Request> Remove(Entry& entry);
  void Sweep(base::Time now, engine::Replies& replies);

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  void CheckIntegrity() const;

 private:
  struct Before {
    bool operator()(const Entry* a, const Entry* b) const;
  };
  using Ready = std::set<Entry*, Before>;  // that have sequences in no step
  static size_t Index(engine::WorkClass work) { return work == engine::WorkClass::kTimed ? 0 : 1; }
  static engine::WorkClass WorkOf(const Entry& entry) {
    return entry.deadline.never() ? engine::WorkClass::kUntimed : engine::WorkClass::kTimed;
  }

  // What units take in full steps and a last one.
  engine::Cost CostOf(int64_t units) const;
  bool CanMeet(int64_t units, int level, base::Time deadline, const engine::Outlook& outlook) const;
  void Count(Entry& entry, base::Time now, base::Duration brief);
  void Uncount(Entry& entry);
  // No step takes more of it.
  void Withdraw(Entry& entry);
  enum class Fit { kJoins, kDropCancelled, kDropLate, kFull };
  Fit TryFit(Entry& entry, bool alone, base::Time now);
  // Sequences of the entry that the step still takes.
  struct Room {
    int64_t units = 0;
    int64_t sequences = 0;
    base::Time tightest;
  };
  int64_t CountThatFit(const Entry& entry, const Room& taken, base::Time now) const;

  const Options options_;
  engine::CostModel& costs_;
  std::vector<std::unique_ptr<Entry>> entries_;
  Ready ready_[2];
  int64_t ready_units_ = 0;
  int64_t bytes_ = 0;
  int64_t arrivals_ = 0;
  size_t sweep_at_ = 0;
  engine::Backlog by_deadline_;
  engine::Backlog by_start_;                 // the same by latest start, as in the loop's
  engine::Backlog* loop_backlog_ = nullptr;  // null: not counted
  base::Duration brief_;
  engine::Offer offers_[2];
};

}  // namespace sluice::lm

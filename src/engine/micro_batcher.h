// MicroBatcher: the waiting requests of one engine and the policy that joins them into steps.
//
// A policy object for engines that run each request once; it knows rows, deadlines and costs, no
// tensors.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "engine/backlog.h"
#include "engine/cost_model.h"
#include "engine/engine.h"
#include "engine/pairing_heap.h"

namespace sluice::engine {

// Owned by its engine; the lease holder only.
//
// Requests of one shape (a key of the engine's choice) may share a step. The most urgent request
// leads: timed work by priority, then deadline; untimed work by priority, then arrival. Others of
// its shape join in the same order, as long as rows_max holds and no member of the step would miss
// its deadline by their joining. What cannot meet its deadline even alone is dropped.
class MicroBatcher {
 public:
  struct Options {
    int64_t rows_max = 0;                    // of a step; 0: requests are never joined
    base::Duration queue_delay_max = {};     // how long a step may wait for company
    int priority_levels = 1;                 // at most kLevelsMax
    int priority_default = 1;                // of requests that name none; in [1, priority_levels]
    int64_t requests_max = 8192;             // that wait
    int64_t bytes_max = int64_t{256} << 20;  // of the payloads of those
    std::vector<int64_t> level_requests_max =
        {};  // by level, from 1; missing or 0: no limit of its own
  };
  static constexpr int kLevelsMax = 32;
  static constexpr int kShapesMax = 1024;    // that wait at once
  static constexpr int64_t kSweepMax = 512;  // requests that one Sweep looks at for cancellation
  // A step that waits for company starts this much before it must, for the timer and the hand-off.
  static constexpr base::Duration kStartMargin = base::Duration::Micros(200);

  // `costs` outlives the batcher; whoever records into it calls CostsChanged.
  MicroBatcher(Options options, CostModel& costs);

  // Takes the request (whose rows and bytes are set, rows <= rows_max) unless it returns kQueueFull
  // or kTooLate.
  Admission Add(std::unique_ptr<Request>& request, uint64_t shape, const Outlook& outlook);
  // The most urgent step that is ready at `now`; when none is, the one that will be ready first.
  const Offer* BestOffer(base::Time now, WorkClass work);
  // Moves the members of the best step of the offer's class to `members` (empty, its capacity
  // reserved) and sets step.rows and step.predicted. False: everything it could take was dropped.
  bool Take(const Offer& offer, Step& step, std::vector<std::unique_ptr<Request>>& members,
            Replies& replies);
  // The shape of the step that Take made last.
  uint64_t taken_shape() const { return taken_shape_; }
  // What that step counts: its members' rows, or units where they have any.
  int64_t taken_units() const { return taken_units_; }
  void Sweep(base::Time now, Replies& replies);
  void CostsChanged() { dirty_ = {true, true}; }

  int64_t waiting() const { return waiting_; }
  // Whether a request of this shape waits.
  bool Holds(uint64_t shape) const;
  int64_t waiting_bytes() const { return bytes_; }
  void CheckIntegrity() const;

 private:
  struct Node {
    std::unique_ptr<Request> request;  // null: the node is free
    HeapLinks links;
    base::Time deadline;
    int64_t sequence = 0;
    int64_t units = 0;  // rows, or 1 when requests are never joined
    int32_t group = -1;
    int32_t level = 0;   // 0 is priority 1
    bool probe = false;  // runs although it will be late
    // Where and as what it is counted while it waits.
    Backlog::Work work_counted;
    int32_t deadline_slice = 0;
    int32_t start_slice = 0;
    WorkClass work() const { return deadline.never() ? WorkClass::kUntimed : WorkClass::kTimed; }
  };
  // The requests of one shape.
  struct Group {
    uint64_t shape = 0;
    int64_t units = 0;
    int64_t count = 0;
    base::Time oldest;                // no member was enqueued earlier
    std::array<int64_t, 2> counts{};  // by work class
    int32_t live_at = -1;             // index in live_
  };
  using Heap = PairingHeap<MicroBatcher>;
  friend Heap;
  static size_t Index(WorkClass work) { return work == WorkClass::kTimed ? 0 : 1; }

  HeapLinks& links(int32_t node) { return nodes_[static_cast<size_t>(node)].links; }
  bool Before(int32_t a, int32_t b) const;
  int32_t& Root(int32_t group, WorkClass work, int level) {
    return roots_[static_cast<size_t>(
        (group * 2 + (work == WorkClass::kTimed ? 0 : 1)) * options_.priority_levels + level)];
  }
  int32_t Root(int32_t group, WorkClass work, int level) const {
    return const_cast<MicroBatcher*>(this)->Root(group, work, level);
  }
  int32_t Lead(int32_t group, WorkClass work) const;
  base::Time Tightest(int32_t group) const;
  int32_t GroupOf(uint64_t shape);
  bool CanMeet(const Request& request, uint64_t shape, int64_t units, int level,
               const Outlook& outlook) const;
  base::Duration WorkAhead(base::Duration own, base::Time latest_start, int level,
                           const Outlook& outlook) const;
  void Count(Node& node, int32_t group, const Outlook& outlook);
  void Consider(int32_t group, WorkClass work, base::Time now);
  void Rescan(WorkClass work, base::Time now);
  bool Ranks(const Offer& a, int32_t a_lead, const Offer& b, int32_t b_lead) const;
  void MakeOffer(int32_t group, WorkClass work, Offer& offer) const;
  std::unique_ptr<Request> Unlink(int32_t node);
  enum class Fit { kJoins, kDropCancelled, kDropLate, kStop };
  Fit TryFit(const Node& node, uint64_t shape, bool alone, int64_t units, base::Time tightest,
             base::Time now);

  const Options options_;
  CostModel& costs_;
  std::vector<Node> nodes_;
  std::vector<int32_t> free_nodes_;
  std::vector<Group> groups_;
  std::vector<int32_t> roots_;  // [groups, 2 classes, levels]
  std::vector<int32_t> live_;   // groups that are not empty
  std::unordered_map<uint64_t, int32_t> group_of_;
  Backlog by_deadline_;                // of what waits here
  Backlog by_start_;                   // the same by latest start, as in the loop's
  Backlog* loop_backlog_ = nullptr;    // work of all engines by latest start; null: not counted
  std::vector<int64_t> level_counts_;  // [levels]
  int64_t waiting_ = 0;
  int64_t bytes_ = 0;
  int64_t sequence_ = 0;
  size_t sweep_at_ = 0;
  uint64_t taken_shape_ = 0;
  int64_t taken_units_ = 0;
  std::array<Offer, 2> offers_;
  std::array<int32_t, 2> best_{-1, -1};  // group of the offer; -1: none
  std::array<bool, 2> dirty_{false, false};
  std::array<base::Time, 2> rescan_at_{base::Time::Never(),
                                       base::Time::Never()};  // more is ready then
};

}  // namespace sluice::engine

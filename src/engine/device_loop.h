// DeviceLoop: the one scheduler of a device. It owns the slots, the arenas and the lease, and
// decides whose step runs.
//
// docs/device_loop.md explains the lease, the memory order, nesting and parking.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/backlog.h"
#include "engine/device.h"
#include "engine/doorbell.h"
#include "engine/engine.h"
#include "engine/fair_share.h"
#include "engine/inbox.h"
#include "engine/version.h"
#include "tensor/arena.h"
#include "tensor/ledger.h"

namespace sluice::engine {

// The loop's record of an attached engine. The lease holder only.
struct Seat {
  const EngineVersion* version = nullptr;
  Engine* engine = nullptr;
  Statistics* statistics = nullptr;
  std::vector<std::unique_ptr<Step>> steps;  // by slot; the last ones are the nested slots'
  int64_t step_bytes = 0;                    // memory of its largest step
  int in_flight = 0;                         // steps between Form and Commit
  bool idle = true;                          // holds no request: nothing to ask it
  base::Duration served;                     // device time, to take turns where urgency is equal
  std::atomic<bool> short_steps{true};  // read by Submit: whether running inline is worth a try
};

// Owner: whoever made it (bin or serve), until every version is gone. Threads: Submit, PostEvent,
// Wake and the queries from any; Attach and Detach from load threads; everything private belongs to
// the lease holder unless it says otherwise.
class DeviceLoop {
 public:
  struct Options {
    std::string name = "cpu0";
    const base::Clock* clock = &base::SystemClock::Get();
    base::ThreadPool* pool = nullptr;  // the device's compute threads; null: the lease holder alone
    tensor::Ledger* ledger = nullptr;  // the arenas are reserved there; null: nowhere
    int depth = 1;                     // slots: 1 on a CPU, 2 on a GPU; at most kDepthMax
    Inbox::Limits inbox;
    base::Duration quantum = base::Duration::Micros(500);  // a safepoint at least this often
    base::Duration inline_below =
        base::Duration::Micros(100);  // Submit runs shorter steps itself; 0: never
    base::Duration sweep_every =
        base::Duration::Millis(1);  // how soon the cancelled and expired are answered
    bool nesting = true;            // whether safepoints may run a step of another engine
    bool threaded = true;           // false: no worker; the owner calls RunOnce (simulators)
    int nice = 2;                   // of the worker, so that io threads go first
  };
  static constexpr int kDepthMax = 4;
  static constexpr int kNestLevels = 2;  // steps that may run within a step, one in the other
  // What is nested takes at most so many times what its outer step, or a quantum, has had: that
  // one keeps a tenth. Of the outermost one, what is nested twice leaves a twentieth.
  static constexpr int64_t kNestShare = 9;
  static constexpr int64_t kCaution =
      8;  // an unmeasured step may take so many times its prior, before it may nest

  explicit DeviceLoop(Options options)
      : DeviceLoop(std::move(options), std::make_unique<InlineDevice>()) {}
  DeviceLoop(Options options, std::unique_ptr<Device> device);
  ~DeviceLoop();  // every version has been destroyed
  DeviceLoop(const DeviceLoop&) = delete;
  DeviceLoop& operator=(const DeviceLoop&) = delete;

  // Requests refused from now on carry "draining"; what is inside still gets its answer.
  void BeginDrain() { draining_.store(true, std::memory_order_seq_cst); }
  // Waits until nothing is unanswered or `until` has come. True: drained. One thread at a time.
  bool WaitDrained(base::Time until);
  // A request that waits or runs here makes the worker look now.
  void Wake() { doorbell_.Ring(); }

  // Without a worker: takes the lease and makes one turn. False: there was nothing to do before
  // next_wake().
  bool RunOnce();
  // After RunOnce: when to look again without being woken.
  base::Time next_wake() const { return next_wake_; }
  // The lease is free and the caller keeps it so: the invariants of the loop and of every engine
  // hold.
  void CheckIntegrity() const;

  const Options& options() const { return options_; }
  // Steps that one engine may have between Form and Commit, and the numbers of their slots.
  int slots() const { return options_.depth + kNestLevels; }
  int64_t unanswered() const { return unanswered_.load(std::memory_order_relaxed); }
  // Payloads of the requests that are not answered yet.
  int64_t payload_bytes() const { return inbox_.bytes(); }
  int64_t arena_bytes() const { return arena_bytes_.load(std::memory_order_relaxed); }
  // Measured at start: from a ring of the bell to the worker running. Zero without a worker.
  base::Duration handoff_cost() const { return handoff_cost_; }

 private:
  friend class EngineVersion;
  friend void Submit(std::shared_ptr<const EngineVersion>, std::unique_ptr<Request>);
  friend void PostEvent(std::shared_ptr<const EngineVersion>, Event);

  // A place in which one step at a time is formed, runs and is committed.
  struct Slot : Safepoint {
    bool Reach() override { return loop->ReachSafepoint(*this); }
    base::Duration quantum() const override { return loop->options_.quantum; }
    // How long its step itself has run.
    base::Duration Own(base::Time now) const {
      return (paused.never() ? now : paused) - step->launched - step->nested;
    }

    DeviceLoop* loop = nullptr;
    Seat* seat = nullptr;
    Step* step = nullptr;
    int index = 0;                            // of its step in Seat::steps
    int level = 0;                            // 0: not nested
    Slot* outer = nullptr;                    // while it runs: in whose step
    base::Time paused = base::Time::Never();  // while a step runs within its own: since when
    Offer offer;
    bool abandoned = false;
    bool rivals_waited = false;    // work of the other class was ready when this step was chosen
    base::Time looked;             // when a safepoint last looked around
    int64_t held_when_quiet = -1;  // held_ when it then found nothing to nest
    tensor::Arena arena;           // of what runs here and, behind that, of what is nested in it
    Exec exec;
  };
  struct Choice {
    Seat* seat = nullptr;
    Offer offer;
    bool rivals_waited = false;
  };
  // Work of a load thread that only the lease holder may do.
  struct Command : InboxNode {
    enum class Verb { kAttach, kDetach, kPing } verb = Verb::kAttach;
    Seat* seat = nullptr;
    // Attach: larger ones for the slots, or none; the old ones come back here.
    std::vector<tensor::Arena> arenas;
    base::Time carried_out;
    Command* next = nullptr;
    std::atomic<uint32_t> done{0};
  };

  // Load threads.
  base::Status Attach(Seat& seat);
  base::Status SendWithArenas(Seat& seat);
  base::Status Reserve(int64_t bytes);
  int64_t ArenaBytes() const;
  void PopulateBehind(std::vector<std::pair<std::byte*, int64_t>> regions);
  void Detach(Seat& seat);
  void Send(Command& command);
  // Any thread.
  void Accept(std::unique_ptr<Request> request);
  bool TryLease();
  void Leave();
  // The worker.
  void WorkerMain();
  void MeasureHandoff();
  // The lease holder.
  // `read`: the clock a moment ago.
  bool Turn(base::Duration step_max, base::Time read);
  void Collect(base::Time now);
  void TakeRequest(std::unique_ptr<Request> request, base::Time now);
  void CarryOutCommands();
  void SweepIfDue(base::Time now);
  Choice Best(base::Time now, const Slot* around);
  bool Form(const Choice& choice, Slot& slot, base::Time now);
  void Launch(Slot& slot);
  bool CommitFinished();
  void Commit(Slot& slot);
  void PostReplies();
  bool ReachSafepoint(Slot& slot);
  bool MayNest(const Slot& around, const Offer& offer, base::Time now) const;
  void RunNested(const Choice& choice, Slot& around, base::Time now);
  Outlook OutlookFor(base::Time now);
  base::Duration RemainingOf(const Slot& slot, base::Time now) const;
  Slot& OldestSlot() { return *slots_[static_cast<size_t>(committed_ % options_.depth)]; }
  int64_t in_flight() const { return launched_ - committed_; }
  base::Time Now() const { return options_.clock->Now(); }

  const Options options_;
  const std::unique_ptr<Device> device_;
  // More than any machine holds; keeps sums of them from overflowing.
  static constexpr int64_t kStepBytesMax = int64_t{1} << 57;
  static constexpr int64_t kPopulatedAtOnce = int64_t{16} << 20;

  // Any thread.
  Inbox inbox_;
  Doorbell doorbell_;      // the worker sleeps here
  Doorbell drained_bell_;  // WaitDrained sleeps here
  Doorbell command_bell_;  // Send sleeps here
  alignas(64) std::atomic<uint32_t> lease_{0};
  std::atomic<int64_t> unanswered_{0};
  std::atomic<int64_t> arena_bytes_{0};
  std::atomic<bool> draining_{false};
  std::atomic<bool> stopping_{false};

  // Load threads, one at a time.
  std::mutex attach_mutex_;
  std::multiset<int64_t, std::greater<>> step_bytes_;  // of the engines' largest steps
  tensor::Reservation reserved_;                       // the arenas of all slots
  std::thread populating_;                             // has the kernel zero the rest of new arenas

  // The lease holder.
  alignas(64) std::vector<Seat*> seats_;
  std::vector<std::unique_ptr<Slot>> slots_;  // [depth]
  std::array<Slot, kNestLevels> nested_;      // by level, from 1
  Slot* running_ = nullptr;  // the innermost step whose Launch is on this thread's stack
  int64_t launched_ = 0;     // slot = launched_ % depth
  int64_t committed_ = 0;
  int64_t held_ = 0;  // requests taken from the inbox and not answered
  Command* commands_ = nullptr;
  Replies replies_;
  std::vector<Waker*> wakers_;
  FairShare fair_share_;
  Backlog backlog_;           // of all engines, by latest start
  base::Time last_finished_;  // of the steps that were not nested
  base::Time swept_;
  base::Time last_read_;  // of the clock, by whoever held the lease
  base::Time next_wake_ = base::Time::Never();

  base::Duration handoff_cost_;
  std::thread worker_;
};

}  // namespace sluice::engine

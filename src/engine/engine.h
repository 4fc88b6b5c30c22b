// The contract of engines and the loop. An engine turns requests into steps; the loop decides whose
// step runs when.
//
// ARCHITECTURE.md "The contract" states the invariants by name; comments here cite them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/description.h"
#include "engine/request.h"

namespace sluice::base {
class ThreadPool;
}

namespace sluice::engine {

class Backlog;
struct Measure;

// What became of a request that was shown to an engine. The last two leave it with the loop, which
// answers it.
enum class Admission {
  kQueued,
  kParked,     // waits for an Event; expires like any other
  kQueueFull,  // a limit of the engine's queue: reason "queue_full"
  kTooLate,    // cannot meet its deadline: reason "deadline_admission"
};

// What an engine may know of its surroundings when it admits a request.
struct Outlook {
  base::Time now;
  base::Time device_free;     // when the steps in flight will be done; >= now
  base::Duration nest_below;  // a step predicted to take at most this need not wait for device_free
  base::Duration brief = {};  // steps of at most this run at any safepoint of longer ones; 0: none
  Backlog* backlog = nullptr;  // work of all engines of the loop by latest start; null: not kept

  // When a step that takes `predicted` can start at the earliest.
  base::Time start_of(base::Duration predicted) const {
    return predicted <= nest_below ? now : device_free;
  }
  // Whether a step that takes `predicted` may miss this latest start since it comes while another
  // one runs: one that is shorter than what is left of that runs within it, and a longer one has
  // time enough to wait for it, unless its own time is more than it has to spare.
  bool IsTight(base::Duration predicted, base::Time latest_start) const {
    return predicted > brief && (brief.ns == 0 || latest_start - now < predicted);
  }
};

// Requests with a deadline and requests without one queue apart, so that the second keep their
// tenth of the device.
enum class WorkClass { kTimed, kUntimed };

// What a step will take, as far as the engine knows.
struct Cost {
  base::Duration predicted;  // a high quantile of what such steps took, or the roofline prior
  bool measured = false;     // false: only the prior is known; such a shape is never refused
  int64_t rows = 0;
};

// The best next step of one engine. Valid until the engine's next Admit, OnEvent, Sweep, Form or
// Commit.
struct Offer {
  base::Time latest_start =
      base::Time::Never();  // after this the tightest member misses its deadline
  base::Time wait_until;    // work-conserving batching may wait until then; <= now: run. Never past
                            // latest_start
  Cost cost;
  int priority = 1;  // 1 is the most urgent
  WorkClass work = WorkClass::kTimed;
};

// Something that a parked request waited for has arrived: a fetch, an fsync, a compiled grammar.
struct Event {
  uint64_t token = 0;  // the engine's own, given out when the request was parked
  base::Status status;
};

enum class StepStatus {
  kDone,
  kFailed,     // Launch left an error in Step::status
  kAbandoned,  // a safepoint told Launch to stop: nobody wants the answer any more
};

// A plain value in a numbered slot: everything that Launch may read besides the model. Engines
// derive their own. The loop sets slot, the times and `nested`; Form sets predicted and rows;
// Launch may set status.
struct Step {
  virtual ~Step() = default;
  // Whether the answer is of use to anybody. The loop asks at safepoints; false abandons the step.
  virtual bool wanted(base::Time /*now*/) const { return true; }

  int slot = 0;  // which slot's memory it uses
  base::Duration predicted;
  int64_t rows = 0;
  bool probe = false;  // Form: runs to its end also when it is late, since its time is not known
  base::Time formed;   // before Form: what Form takes for now
  base::Time launched;
  base::Time finished;
  base::Duration nested;  // spent in steps of other engines between launched and finished
  base::Status status;    // why the step as a whole failed

  base::Duration computed() const { return finished - launched - nested; }
};

// Replies collected while the loop works, posted by the loop when it is done with the engine.
class Replies {
 public:
  // Takes the request: its terminal reply is this one (reply.terminal must be set).
  void Finish(std::unique_ptr<Request> request, Reply reply);
  // The terminal reply of a request that was refused or dropped; `reason` is one of engine::reason.
  void Refuse(std::unique_ptr<Request> request, const char* reason);
  // The terminal reply of a member of an abandoned step: it was cancelled, or its deadline has
  // gone.
  void Abandon(std::unique_ptr<Request> request);
  // A further chunk of a stream; the request stays with its engine.
  void Chunk(Request& request, Reply reply);

  struct Row {
    std::shared_ptr<ReplySink> sink;
    Reply reply;
    std::unique_ptr<Request>
        request;  // destroyed after posting, off the critical path; null for a chunk
  };
  std::vector<Row>& rows() { return rows_; }
  const std::vector<Row>& rows() const { return rows_; }

 private:
  std::vector<Row> rows_;
};

// Whether one of the members of a step is neither cancelled nor, unless the step is a probe, past
// its deadline.
bool AnyWanted(std::span<const std::unique_ptr<Request>> members, bool probe, base::Time now);

// Where a step computes: the pool of its device and the slot's memory.
struct Exec {
  base::ThreadPool* pool = nullptr;  // null: this thread alone
  std::byte* memory =
      nullptr;  // activations of the slot; [memory_bytes], aligned to tensor::kAlignment
  int64_t memory_bytes = 0;
};

// Launch calls Reach between pieces of at most the quantum, outside a parallel-for, on the thread
// that called Launch. There the loop may run one shorter, more urgent step of another engine
// (nested at most twice, in its own memory), and tells whether to go on: false when the step was
// abandoned. Cheap (a clock read) when nothing waits.
class Safepoint {
 public:
  virtual ~Safepoint() = default;
  virtual bool Reach() = 0;
  virtual base::Duration quantum() const = 0;
};

// Resident and reserved bytes of an engine, by purpose.
struct MemoryUse {
  int64_t weights_bytes = 0;     // this engine's share of packed weights
  int64_t activation_bytes = 0;  // needed of a slot's memory by its largest step
  int64_t state_bytes = 0;       // caches, tables, plans
};

// One per (model version, loop).
class Engine {
 public:
  virtual ~Engine() = default;  // on the load thread, after detach

  // Any thread; touches the immutable model only.
  virtual const Description& description() const = 0;
  virtual base::Duration PrepareCost(const Request& request) const = 0;
  // Validates and readies a request (tokenise, hash) and sets its rows, or its answer where that
  // needs no step. Pure. kInvalidArgument: the client's fault.
  virtual base::Status Prepare(Request& request) const = 0;
  virtual MemoryUse memory() const = 0;
  // What it counts beside the statistics of every engine; the list never changes.
  virtual const std::vector<Measure>& measures() const;

  // The load thread, before the engine is attached: a step for slot `slot`, reused for every step
  // in that slot.
  virtual std::unique_ptr<Step> MakeStep(int slot) = 0;

  // The lease holder only.
  virtual Admission Admit(std::unique_ptr<Request>& request,
                          const Outlook& outlook) = 0;  // takes it unless refused
  virtual void OnEvent(const Event& event, const Outlook& outlook, Replies& replies) = 0;
  virtual void Sweep(base::Time now,
                     Replies& replies) = 0;  // the cancelled and the expired; bounded work per call
  // Null: nothing of that class to do; O(1) when nothing changed.
  virtual const Offer* BestOffer(base::Time now, WorkClass work) = 0;
  // Moves the offer's members into the step, dropping what cannot meet its deadline any more.
  // False: nothing is left to run, and the step is not launched.
  virtual bool Form(const Offer& offer, Step& step, Replies& replies) = 0;
  virtual void Commit(Step& step, StepStatus status, Replies& replies) = 0;
  virtual int64_t pending() const = 0;      // requests it holds: queued, parked and in steps
  virtual void CheckIntegrity() const = 0;  // the simulator calls it after every step

  // The lease holder or a rank's thread; reads only the step, the model and the slot's memory. No
  // heap allocation.
  virtual void Launch(Step& step, Exec& exec, Safepoint& safepoint) = 0;
};

}  // namespace sluice::engine

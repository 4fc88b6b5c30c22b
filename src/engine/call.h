// Call: the one object that a request shares with whoever asked for it. Deadline, priority,
// cancellation, reply credit.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/clock.h"

namespace sluice::engine {

// Shared between the io side (which made it) and the loop. Everything but the flags is fixed at
// construction.
class Call {
 public:
  struct Options {
    base::Time deadline = base::Time::Never();  // absolute, from the request's arrival
    int priority = 0;                           // 1 is highest; 0 means the model's default
    std::string tenant;                         // empty: the anonymous tenant
    std::string trace_parent;                   // W3C traceparent, empty when absent
    std::shared_ptr<const Call> parent;         // the chain's call, for a node of a chain
    bool takes_chunks = false;  // whoever asked passes replies before the last one on
    // What whoever asked expects of a stream; Max: nothing.
    base::Duration ttft = base::Duration::Max();  // from arrival to the first token
    base::Duration tpot = base::Duration::Max();  // from each token to the next
  };
  explicit Call(Options options) : options_(std::move(options)) {}

  // Any thread, any number of times. The loop sees it at its next look; work already launched may
  // still finish.
  void Cancel() { cancelled_.store(true, std::memory_order_release); }
  bool cancelled() const {
    for (const Call* call = this; call != nullptr; call = call->options_.parent.get()) {
      if (call->cancelled_.load(std::memory_order_acquire)) return true;
    }
    return false;
  }
  base::Time deadline() const { return options_.deadline; }
  bool expired(base::Time now) const { return now >= options_.deadline; }
  int priority() const { return options_.priority; }
  const std::string& tenant() const { return options_.tenant; }
  bool takes_chunks() const { return options_.takes_chunks; }
  base::Duration ttft() const { return options_.ttft; }
  base::Duration tpot() const { return options_.tpot; }
  const std::string& trace_parent() const { return options_.trace_parent; }

  // Reply credit: how many more chunks the reader can take. The io side grants, the loop spends; a
  // stream without credit pauses. One-shot requests never look.
  void GrantCredit(int chunks) { credit_.fetch_add(chunks, std::memory_order_acq_rel); }
  bool TakeCredit() {
    int have = credit_.load(std::memory_order_acquire);
    while (have > 0) {
      if (credit_.compare_exchange_weak(have, have - 1, std::memory_order_acq_rel)) return true;
    }
    return false;
  }

 private:
  const Options options_;
  std::atomic<bool> cancelled_{false};
  std::atomic<int> credit_{1};
};

}  // namespace sluice::engine

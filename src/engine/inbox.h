// The loop's inbox: what other threads hand to the loop, in the order in which it came.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "engine/engine.h"

namespace sluice::engine {

class EngineVersion;

// An Event on its way to the engine of a version.
struct PostedEvent : InboxNode {
  std::shared_ptr<const EngineVersion> pin;
  Event event;
};

// Intrusive: a push allocates nothing and cannot fail half-way, and taking everything is one
// exchange, so there is no node to reclaim while another thread looks at it. Push: any thread.
// TakeAll: the lease holder. The limits bound requests only; events are bounded by the requests
// that wait for them.
class Inbox {
 public:
  struct Limits {
    int64_t requests_max = 65536;
    int64_t bytes_max = int64_t{1} << 30;
  };
  explicit Inbox(Limits limits) : limits_(limits) {}
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // False, and the request stays with the caller, when a limit is reached.
  bool TryPush(std::unique_ptr<Request>& request);
  void Push(std::unique_ptr<PostedEvent> event) { Link(event.release()); }
  // A command stays its sender's, who waits until the loop has carried it out.
  void PushCommand(InboxNode& command) { Link(&command); }

  // The oldest first; the caller owns the requests and events of the list.
  InboxNode* TakeAll();
  // To be called for each request that TakeAll gave, once an engine has it or it is answered.
  void Release(int64_t bytes);
  // Sequentially consistent with Push: see docs/device_loop.md, "The lease".
  bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }
  int64_t requests() const { return requests_.load(std::memory_order_relaxed); }

 private:
  void Link(InboxNode* node);

  const Limits limits_;
  std::atomic<InboxNode*> head_{nullptr};  // newest first
  std::atomic<int64_t> requests_{0};
  std::atomic<int64_t> bytes_{0};
};

}  // namespace sluice::engine

// The loop's inbox: what other threads hand to the loop, in the order in which it came.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "engine/engine.h"
#include "tensor/ledger.h"

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
//
// The inbox also counts the payloads of all requests of its loop, from the push to the answer, and
// reserves them in the ledger, kPayloadStep at a time.
class Inbox {
 public:
  struct Limits {
    int64_t requests_max = 65536;                 // that wait in the inbox
    int64_t bytes_max = int64_t{1} << 30;         // of payloads in the loop
    tensor::Ledger* ledger = nullptr;             // null: nowhere
    std::string owner = "loop request payloads";  // their name there
  };
  static constexpr int64_t kPayloadStep = int64_t{16} << 20;

  explicit Inbox(Limits limits) : limits_(std::move(limits)) {}
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
  void CountTaken() { requests_.fetch_sub(1, std::memory_order_relaxed); }
  // Payloads of requests that are answered and gone.
  void ReleaseBytes(int64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  // Gives the ledger back what payloads needed in a rush. Any thread; may wait for another one.
  void Trim();
  // Sequentially consistent with Push: see docs/device_loop.md, "The lease".
  bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }
  int64_t requests() const { return requests_.load(std::memory_order_relaxed); }
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  void Link(InboxNode* node);
  bool Reserve(int64_t bytes);

  const Limits limits_;
  std::atomic<InboxNode*> head_{nullptr};  // newest first
  std::atomic<int64_t> requests_{0};
  std::atomic<int64_t> bytes_{0};
  std::atomic<int64_t> reserved_{0};
  std::mutex reserving_;
  tensor::Reservation reservation_;  // guarded by reserving_
};

}  // namespace sluice::engine

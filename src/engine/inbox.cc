#include "engine/inbox.h"

#include <algorithm>

#include "base/check.h"

namespace sluice::engine {

void Inbox::Link(InboxNode* node) {
  InboxNode* head = head_.load(std::memory_order_relaxed);
  do {
    node->inbox_next = head;
  } while (!head_.compare_exchange_weak(head, node, std::memory_order_seq_cst,
                                        std::memory_order_relaxed));
}

bool Inbox::TryPush(std::unique_ptr<Request>& request) {
  // Count first and take back on refusal: the limits hold whatever the interleaving.
  const int64_t requests = requests_.fetch_add(1, std::memory_order_relaxed) + 1;
  const int64_t bytes =
      bytes_.fetch_add(request->bytes, std::memory_order_relaxed) + request->bytes;
  if (requests > limits_.requests_max || bytes > limits_.bytes_max || !Reserve(bytes)) {
    CountTaken();
    ReleaseBytes(request->bytes);
    return false;
  }
  request->inbox_kind = InboxNode::Kind::kRequest;
  Link(request.release());
  return true;
}

// Whether the ledger holds `bytes` of payloads. Asks it only when they exceed all before.
bool Inbox::Reserve(int64_t bytes) {
  if (limits_.ledger == nullptr || bytes <= reserved_.load(std::memory_order_acquire)) return true;
  const std::lock_guard lock(reserving_);
  if (bytes <= reserved_.load(std::memory_order_relaxed)) return true;
  const int64_t wanted = std::min((bytes + kPayloadStep - 1) / kPayloadStep * kPayloadStep,
                                  std::max(limits_.bytes_max, bytes));
  if (reservation_.bytes() > 0) {
    if (!reservation_.Resize(wanted).ok()) return false;
  } else {
    base::Result<tensor::Reservation> made = limits_.ledger->Reserve(limits_.owner, wanted);
    if (!made.ok()) return false;
    reservation_ = std::move(made).value();
  }
  reserved_.store(wanted, std::memory_order_release);
  return true;
}

void Inbox::Trim() {
  const std::lock_guard lock(reserving_);
  if (reservation_.bytes() == 0) return;
  // Pushes that race with this one see the smaller sum and reserve again.
  const int64_t needed = (bytes() / kPayloadStep + 1) * kPayloadStep;
  if (needed >= reservation_.bytes()) return;
  reserved_.store(needed, std::memory_order_release);
  CHECK(reservation_.Resize(needed).ok()) << "it only shrinks";
}

InboxNode* Inbox::TakeAll() {
  if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
  InboxNode* newest = head_.exchange(nullptr, std::memory_order_seq_cst);
  InboxNode* oldest = nullptr;
  while (newest != nullptr) {
    InboxNode* next = newest->inbox_next;
    newest->inbox_next = oldest;
    oldest = newest;
    newest = next;
  }
  return oldest;
}

}  // namespace sluice::engine

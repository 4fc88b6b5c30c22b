#include "engine/inbox.h"

namespace sluice::engine {

void Inbox::Link(InboxNode* node) {
  InboxNode* head = head_.load(std::memory_order_relaxed);
  do {
    node->inbox_next = head;
  } while (!head_.compare_exchange_weak(head, node, std::memory_order_seq_cst,
                                        std::memory_order_relaxed));
}

bool Inbox::TryPush(std::unique_ptr<Request>& request) {
  // Reserve first and give back on refusal: the limits hold whatever the interleaving.
  const int64_t requests = requests_.fetch_add(1, std::memory_order_relaxed) + 1;
  const int64_t bytes =
      bytes_.fetch_add(request->bytes, std::memory_order_relaxed) + request->bytes;
  if (requests > limits_.requests_max || bytes > limits_.bytes_max) {
    Release(request->bytes);
    return false;
  }
  request->inbox_kind = InboxNode::Kind::kRequest;
  Link(request.release());
  return true;
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

void Inbox::Release(int64_t bytes) {
  requests_.fetch_sub(1, std::memory_order_relaxed);
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace sluice::engine

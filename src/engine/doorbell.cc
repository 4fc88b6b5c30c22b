#include "engine/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace sluice::engine {
namespace {

void Futex(std::atomic<uint32_t>& word, int operation, uint32_t value, const timespec* until) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation, value, until, nullptr,
          FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

void Doorbell::Wait(uint32_t ticket, base::Time until) {
  sleeping_.store(1, std::memory_order_seq_cst);
  if (rings_.load(std::memory_order_seq_cst) == ticket) {
    // FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time. The kernel compares the word once
    // more, so a ring between our look and the call ends it at once.
    timespec at{};
    at.tv_sec = until.ns / 1'000'000'000;
    at.tv_nsec = until.ns % 1'000'000'000;
    Futex(rings_, FUTEX_WAIT_BITSET_PRIVATE, ticket, until.never() ? nullptr : &at);
  }
  sleeping_.store(0, std::memory_order_relaxed);
}

void Doorbell::Ring() {
  rings_.fetch_add(1, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) != 0) {
    Futex(rings_, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, nullptr);
  }
}

}  // namespace sluice::engine

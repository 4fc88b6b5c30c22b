// Doorbell: where one thread sleeps until another rings or a time has come. Ringing costs a system
// call only when somebody sleeps.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace sluice::engine {

// Wait: one thread. Ring: any thread. The sleeper takes a ticket, looks for work, and waits with
// the ticket: a ring after the ticket was taken ends the wait at once, so none is lost.
class Doorbell {
 public:
  uint32_t Ticket() const { return rings_.load(std::memory_order_seq_cst); }
  // Until a ring after `ticket`, or `until` by CLOCK_MONOTONIC. May return early.
  void Wait(uint32_t ticket, base::Time until);
  void Ring();

 private:
  std::atomic<uint32_t> rings_{0};
  std::atomic<uint32_t> sleeping_{0};
};

}  // namespace sluice::engine

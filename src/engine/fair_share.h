// FairShare: the account that keeps a tenth of a device for work without a deadline.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace sluice::engine {

// The lease holder only. While untimed work waits, each nine parts that timed work runs earn it
// one; it may go first once it has earned its next step (or kBurst, when the step is longer: it
// then runs into debt and earns it back).
class FairShare {
 public:
  static constexpr int64_t kParts = 10;  // untimed work keeps one in so many
  static constexpr base::Duration kBurst = base::Duration::Millis(100);

  void TimedRan(base::Duration took, bool untimed_waited) {
    if (untimed_waited) earned_ = earned_ + base::Duration{took.ns / (kParts - 1)};
  }
  void UntimedRan(base::Duration took, bool timed_waited) {
    // Steps that went ahead unpaid, at safepoints, cost those that come later one of them at most.
    const base::Duration unpaid = base::Duration{} - took;
    if (timed_waited) earned_ = std::max(earned_ + unpaid, std::min(earned_, unpaid));
  }
  // Nothing is earned for a time in which nobody waited; a debt is forgiven with it.
  void NobodyWaits() { earned_ = {}; }
  bool UntimedGoesFirst(base::Duration cost) const { return earned_ >= std::min(cost, kBurst); }
  base::Duration earned() const { return earned_; }

 private:
  base::Duration earned_;
};

}  // namespace sluice::engine

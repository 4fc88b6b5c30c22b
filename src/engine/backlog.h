// Backlog: predicted work that waits, by priority and by a time (a deadline, a latest start), so
// that admission can ask in O(1) how much goes before a newcomer.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace sluice::engine {

// The lease holder only.
//
// Time is cut into rings of kSlices slices, each ring's four times as long as the last one's, so
// that a slice is at most a sixteenth of the time to go. A slice counts as a whole, and only when
// everything in it is due by the time asked for: the answer is never too large, and exact when
// times come in order, as they do where every client allows the same time.
class Backlog {
 public:
  struct Work {
    int64_t units = 0;    // rows, or requests
    base::Duration time;  // that it adds to what waits; zero when it was never measured
    bool brief = false;   // its step runs at the safepoints of longer ones at once
    bool tight = false;   // it may be late when it comes while a step runs that it cannot run in
  };
  struct Sum {
    int64_t units = 0;
    base::Duration brief;
    base::Duration lengthy;
    Sum& operator+=(const Sum& other);
    friend Sum operator-(const Sum& a, const Sum& b);
  };
  static constexpr int kLevelsMax = 32;  // of priority; 0 is the most urgent
  static constexpr base::Duration kPatienceKept = base::Duration::Seconds(5);

  // Returns the slice, to be given back to Remove. Allocates when a level is used first.
  int Add(int level, base::Time when, base::Time now, const Work& work);
  void Remove(int level, int slice, const Work& work);

  // What waits on `level` and is due at `bound` at the latest, less what of it is also in `own`
  // (null: nothing).
  Sum Before(int level, base::Time bound, base::Time now, const Backlog* own = nullptr) const;
  // The least time that tight work of the last seconds had until its latest start when it came: a
  // step that takes longer may make such work late that comes while it runs. Max: there was none.
  base::Duration patience(base::Time now) const {
    return now < patience_until_ ? patience_ : base::Duration::Max();
  }
  // All that waits on `level`.
  Sum All(int level) const;
  Sum All() const;

 private:
  static constexpr int kSlices = 64;
  static constexpr int kRings = 5;
  static constexpr int kBeyond = kRings * kSlices;                // more than 34 s ahead
  static constexpr int Shift(int ring) { return 21 + 2 * ring; }  // from 2^21 ns = 2.1 ms
  static int SliceOf(base::Time when, base::Time now);

  struct Slice {
    int64_t count = 0;
    base::Time latest;  // of what was added since the slice was empty
    Sum sum;
  };
  struct Level {
    std::array<uint64_t, kRings> filled{};  // a bit a slice
    std::array<Slice, kBeyond + 1> slices{};
    Sum all;
  };
  std::vector<Level> levels_;
  base::Duration patience_;
  base::Time patience_until_;  // forgotten then
};

}  // namespace sluice::engine

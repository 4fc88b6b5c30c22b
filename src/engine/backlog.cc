#include "engine/backlog.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace sluice::engine {

Backlog::Sum& Backlog::Sum::operator+=(const Sum& other) {
  units += other.units;
  brief = brief + other.brief;
  lengthy = lengthy + other.lengthy;
  return *this;
}

Backlog::Sum operator-(const Backlog::Sum& a, const Backlog::Sum& b) {
  return {a.units - b.units, a.brief - b.brief, a.lengthy - b.lengthy};
}

namespace {

Backlog::Sum SumOf(const Backlog::Work& work) {
  return {work.units, work.brief ? work.time : base::Duration{},
          work.brief ? base::Duration{} : work.time};
}

}  // namespace

int Backlog::SliceOf(base::Time when, base::Time now) {
  for (int ring = 0; ring < kRings; ++ring) {
    const int64_t slice = when.ns >> Shift(ring);
    if (slice - (now.ns >> Shift(ring)) < kSlices) {
      return ring * kSlices + static_cast<int>(static_cast<uint64_t>(slice) % kSlices);
    }
  }
  return kBeyond;
}

int Backlog::Add(int level, base::Time when, base::Time now, const Work& work) {
  CHECK(level >= 0 && level < kLevelsMax);
  if (static_cast<size_t>(level) >= levels_.size()) levels_.resize(static_cast<size_t>(level) + 1);
  if (work.tight && when - now <= patience(now)) {
    patience_ = std::max(when - now, base::Duration{});
    patience_until_ = now + kPatienceKept;
  }
  Level& at = levels_[static_cast<size_t>(level)];
  const int index = SliceOf(when, now);
  Slice& slice = at.slices[static_cast<size_t>(index)];
  if (slice.count++ == 0) {
    slice.latest = when;
    if (index < kBeyond)
      at.filled[static_cast<size_t>(index / kSlices)] |= uint64_t{1} << (index % kSlices);
  }
  slice.latest = std::max(slice.latest, when);
  const Sum sum = SumOf(work);
  slice.sum += sum;
  at.all += sum;
  return index;
}

void Backlog::Remove(int level, int index, const Work& work) {
  Level& at = levels_[static_cast<size_t>(level)];
  Slice& slice = at.slices[static_cast<size_t>(index)];
  const Sum sum = SumOf(work);
  slice.sum = slice.sum - sum;
  at.all = at.all - sum;
  CHECK_GT(slice.count, 0);
  if (--slice.count == 0 && index < kBeyond) {
    at.filled[static_cast<size_t>(index / kSlices)] &= ~(uint64_t{1} << (index % kSlices));
  }
}

Backlog::Sum Backlog::Before(int level, base::Time bound, base::Time now,
                             const Backlog* own) const {
  Sum sum;
  if (static_cast<size_t>(level) >= levels_.size()) return sum;
  const Level& at = levels_[static_cast<size_t>(level)];
  const Level* const less = own != nullptr && static_cast<size_t>(level) < own->levels_.size()
                                ? &own->levels_[static_cast<size_t>(level)]
                                : nullptr;
  const auto count = [&](int index) {
    const Slice& slice = at.slices[static_cast<size_t>(index)];
    if (slice.latest > bound) return;
    sum += slice.sum;
    if (less != nullptr) sum = sum - less->slices[static_cast<size_t>(index)].sum;
  };
  for (int ring = 0; ring < kRings; ++ring) {
    if (at.filled[static_cast<size_t>(ring)] == 0) continue;
    const int64_t first = now.ns >> Shift(ring);
    const int64_t slices = std::min<int64_t>((bound.ns >> Shift(ring)) - first + 1, kSlices);
    if (slices <= 0) continue;
    // Bit i: slice first + i.
    const int turn = static_cast<int>(static_cast<uint64_t>(first) % kSlices);
    uint64_t bits = std::rotr(at.filled[static_cast<size_t>(ring)], turn);
    if (slices < kSlices) bits &= (uint64_t{1} << slices) - 1;
    for (; bits != 0; bits &= bits - 1) {
      count(ring * kSlices + (std::countr_zero(bits) + turn) % kSlices);
    }
  }
  if (at.slices[kBeyond].count > 0) count(kBeyond);
  return sum;
}

Backlog::Sum Backlog::All(int level) const {
  return static_cast<size_t>(level) < levels_.size() ? levels_[static_cast<size_t>(level)].all
                                                     : Sum{};
}

Backlog::Sum Backlog::All() const {
  Sum sum;
  for (const Level& level : levels_) sum += level.all;
  return sum;
}

}  // namespace sluice::engine

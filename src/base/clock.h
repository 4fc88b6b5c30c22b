// Time and Duration as strong nanosecond types, and the clocks: the machine's and a virtual one for
// tests and simulators.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <limits>

namespace sluice::base {

// A span of time in nanoseconds.
struct Duration {
  int64_t ns = 0;
  static constexpr Duration Micros(int64_t us) { return {us * 1000}; }
  static constexpr Duration Millis(int64_t ms) { return {ms * 1'000'000}; }
  static constexpr Duration Seconds(int64_t s) { return {s * 1'000'000'000}; }
  static constexpr Duration Max() { return {std::numeric_limits<int64_t>::max()}; }
  constexpr double us() const { return static_cast<double>(ns) / 1e3; }
  constexpr double seconds() const { return static_cast<double>(ns) / 1e9; }
  constexpr auto operator<=>(const Duration&) const = default;
};

// A point of the monotonic clock in nanoseconds. `Time::Never()` is later than any other.
struct Time {
  int64_t ns = 0;
  static constexpr Time Never() { return {std::numeric_limits<int64_t>::max()}; }
  constexpr bool never() const { return *this == Never(); }
  constexpr auto operator<=>(const Time&) const = default;
};

constexpr Duration operator+(Duration a, Duration b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a.ns, b.ns, &sum)) return Duration::Max();
  return {sum};
}
constexpr Duration operator-(Duration a, Duration b) {
  return {a.ns - b.ns};
}
constexpr Duration operator*(Duration a, int64_t n) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a.ns, n, &product)) return Duration::Max();
  return {product};
}
// Saturating: Never plus or minus anything is Never, and nothing wraps.
constexpr Time operator+(Time t, Duration d) {
  int64_t sum = 0;
  if (t.never() || __builtin_add_overflow(t.ns, d.ns, &sum)) return Time::Never();
  return {sum};
}
constexpr Time operator-(Time t, Duration d) {
  if (t.never()) return t;
  int64_t difference = 0;
  if (__builtin_sub_overflow(t.ns, d.ns, &difference)) return {std::numeric_limits<int64_t>::min()};
  return {difference};
}
constexpr Duration operator-(Time a, Time b) {
  if (a.never()) return Duration::Max();
  int64_t difference = 0;
  if (__builtin_sub_overflow(a.ns, b.ns, &difference)) return Duration::Max();
  return {difference};
}

// A source of Time. Implementations are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

// CLOCK_MONOTONIC.
class SystemClock : public Clock {
 public:
  Time Now() const override;
  static const SystemClock& Get();  // the one instance
};

// A clock that moves only when told: for tests and simulators.
class VirtualClock : public Clock {
 public:
  explicit VirtualClock(Time start = {}) : now_ns_(start.ns) {}
  Time Now() const override { return {now_ns_.load(std::memory_order_relaxed)}; }
  void Advance(Duration d) { now_ns_.fetch_add(d.ns, std::memory_order_relaxed); }
  void Set(Time t) { now_ns_.store(t.ns, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> now_ns_;
};

}  // namespace sluice::base

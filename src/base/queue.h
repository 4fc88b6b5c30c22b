// BoundedQueue: many producers, one consumer, a fixed capacity. The inbox of a loop and every other
// hand-over of requests.
//
// The ring with a sequence number in each cell is Dmitry Vyukov's bounded queue (1024cores.net),
// here with one consumer.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace sluice::base {

// TryPush: any thread. TryPop, Drain and the destructor: one thread at a time (whoever holds the
// loop's lease). Lock-free; allocates only when made. A push that has returned true is seen by the
// consumer's next look unless an earlier push is still being written by its producer, who then
// wakes the consumer after it: producers push first and wake after.
template <class T>
class BoundedQueue {
  static_assert(std::is_nothrow_move_constructible_v<T>);

 public:
  static constexpr size_t kCapacityMax = size_t{1} << 24;

  // At most `capacity` values wait at once.
  explicit BoundedQueue(size_t capacity) : capacity_(capacity), mask_(std::bit_ceil(capacity) - 1) {
    CHECK(capacity >= 1 && capacity <= kCapacityMax) << capacity;
    cells_ = std::make_unique<Cell[]>(mask_ + 1);
    for (size_t i = 0; i <= mask_; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  }
  ~BoundedQueue() {
    while (TryPop().has_value()) {
    }
  }
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  // Moves `value` in; false, and `value` untouched, when `capacity` values wait already.
  bool TryPush(T&& value) {
    uint64_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      // The consumer only moves head_ on, so a stale head_ refuses early and never admits one too
      // many. Signed, because a stale tail may lie behind the head.
      const auto waiting = static_cast<int64_t>(at - head_.load(std::memory_order_acquire));
      if (waiting >= static_cast<int64_t>(capacity_)) return false;
      Cell& cell = cells_[at & mask_];
      const auto lead = static_cast<int64_t>(cell.turn.load(std::memory_order_acquire) - at);
      if (lead < 0) return false;
      if (lead > 0) {
        at = tail_.load(std::memory_order_relaxed);
        continue;
      }
      if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
        new (cell.storage) T(std::move(value));
        cell.turn.store(at + 1, std::memory_order_release);
        return true;
      }
    }
  }

  std::optional<T> TryPop() {
    const uint64_t at = head_.load(std::memory_order_relaxed);
    Cell& cell = cells_[at & mask_];
    if (cell.turn.load(std::memory_order_acquire) != at + 1) return std::nullopt;
    T* stored = std::launder(reinterpret_cast<T*>(cell.storage));
    std::optional<T> value(std::move(*stored));
    stored->~T();
    cell.turn.store(at + mask_ + 1, std::memory_order_release);
    head_.store(at + 1, std::memory_order_release);
    return value;
  }

  // Pops at most `count_max` values, oldest first, passing each to take(T). Returns how many.
  template <class F>
  size_t Drain(F&& take, size_t count_max = kCapacityMax) {
    size_t count = 0;
    while (count < count_max) {
      std::optional<T> value = TryPop();
      if (!value.has_value()) break;
      take(*std::move(value));
      ++count;
    }
    return count;
  }

  // How many wait, about: exact when nobody pushes or pops.
  size_t size() const {
    const uint64_t head = head_.load(std::memory_order_acquire);
    const uint64_t tail = tail_.load(std::memory_order_acquire);
    return tail > head ? std::min(static_cast<size_t>(tail - head), capacity_) : 0;
  }
  bool empty() const { return size() == 0; }
  size_t capacity() const { return capacity_; }

 private:
  struct Cell {
    std::atomic<uint64_t> turn;  // at: free for push number `at`; at + 1: holds it
    alignas(T) std::byte storage[sizeof(T)];
  };

  const size_t capacity_;
  const uint64_t mask_;
  std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<uint64_t> tail_{0};  // pushes begun
  alignas(64) std::atomic<uint64_t> head_{0};  // pops done
};

}  // namespace sluice::base

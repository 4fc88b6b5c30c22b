#include "base/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>

#include "base/check.h"

namespace sluice::base {
namespace {

// Bits of state_ above the count of workers inside.
constexpr uint32_t kOpen = 1u << 31;
constexpr uint32_t kCallerSleeps = 1u << 30;
// Enough tiles a lane that a preempted lane costs at most a quarter of its share.
constexpr int64_t kTilesPerLane = 4;
constexpr int kPollsPerClockRead = 64;

void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr,
          nullptr, 0);
}

void FutexWake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr,
          nullptr, 0);
}

// Polls `done` for at most `limit`; tells whether it came true.
bool SpinUntil(Duration limit, FunctionRef<bool()> done) {
  const Time end = SystemClock::Get().Now() + limit;
  do {
    for (int i = 0; i < kPollsPerClockRead; ++i) {
      if (done()) return true;
      __builtin_ia32_pause();
    }
  } while (SystemClock::Get().Now() < end);
  return done();
}

}  // namespace

ThreadPool::ThreadPool(Options options) : options_(std::move(options)) {
  CHECK(options_.workers >= 0 && options_.workers <= kWorkersMax) << options_.workers;
  threads_.reserve(static_cast<size_t>(options_.workers));
  for (int i = 0; i < options_.workers; ++i) {
    threads_.emplace_back([this, lane = i + 1] { WorkerMain(lane); });
    std::string name = options_.name.substr(0, 11) + "-" + std::to_string(i);
    pthread_setname_np(threads_.back().native_handle(), name.substr(0, 15).c_str());
  }
}

ThreadPool::~ThreadPool() {
  CHECK(!busy_.load(std::memory_order_acquire)) << "a ParallelFor outlived its pool";
  stop_.store(true, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  FutexWake(epoch_, INT_MAX);
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::ParallelFor(int64_t count, double item_ns,
                             FunctionRef<void(int64_t, int64_t)> body) {
  ParallelForLanes(count, item_ns, [&](int64_t begin, int64_t end, int) { body(begin, end); });
}

void ThreadPool::ParallelForLanes(int64_t count, double item_ns,
                                  FunctionRef<void(int64_t, int64_t, int)> body) {
  CHECK_GE(count, 0);
  if (count == 0) return;
  const double total_ns = static_cast<double>(count) * item_ns;
  const bool awake = sleepers_.load(std::memory_order_relaxed) == 0;
  const Duration least =
      awake ? std::min(options_.inline_below_awake, options_.inline_below) : options_.inline_below;
  const bool worth_splitting =
      workers() > 0 && count > 1 && total_ns >= static_cast<double>(least.ns);
  if (!worth_splitting || busy_.exchange(true, std::memory_order_acquire)) {
    body(0, count, 0);
    return;
  }
  // From here on this thread alone writes job_ and next_, and no worker is inside.
  job_.body = &body;
  job_.count = count;
  job_.tile = std::max<int64_t>(1, count / (kTilesPerLane * lanes()));
  next_.store(0, std::memory_order_relaxed);
  state_.store(kOpen, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  // A worker counts itself as a sleeper before it waits for the epoch that it last saw, so either
  // it is counted here or its wait returns at once.
  if (sleepers_.load(std::memory_order_seq_cst) > 0) {
    const int64_t tiles = (count + job_.tile - 1) / job_.tile;
    FutexWake(epoch_, static_cast<int>(std::min<int64_t>(workers(), tiles - 1)));
  }
  RunTiles(0);
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  WaitUntilEmpty();
  busy_.store(false, std::memory_order_release);
}

void ThreadPool::WorkerMain(int lane) {
  if (options_.nice != 0) {
    const auto thread_id = static_cast<id_t>(syscall(SYS_gettid));
    const int current = getpriority(PRIO_PROCESS, thread_id);
    setpriority(PRIO_PROCESS, thread_id, current + options_.nice);  // a refusal costs only priority
  }
  while (!stop_.load(std::memory_order_acquire)) {
    const uint32_t seen = epoch_.load(std::memory_order_acquire);
    if (TryEnter()) {
      RunTiles(lane);
      Leave();
    }
    WaitForWork(seen);
  }
}

bool ThreadPool::TryEnter() {
  uint32_t state = state_.load(std::memory_order_acquire);
  while ((state & kOpen) != 0) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void ThreadPool::Leave() {
  const uint32_t before = state_.fetch_sub(1, std::memory_order_acq_rel);
  if (before == (kCallerSleeps | 1)) FutexWake(state_, 1);  // this was the last one inside
}

void ThreadPool::RunTiles(int lane) {
  for (;;) {
    const int64_t begin = next_.fetch_add(job_.tile, std::memory_order_relaxed);
    if (begin >= job_.count) return;
    (*job_.body)(begin, std::min(job_.count, begin + job_.tile), lane);
  }
}

void ThreadPool::WaitForWork(uint32_t seen) {
  const auto changed = [&] { return epoch_.load(std::memory_order_acquire) != seen; };
  if (SpinUntil(options_.spin, changed)) return;
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (!changed()) FutexWait(epoch_, seen);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void ThreadPool::WaitUntilEmpty() {
  const auto empty = [&] { return (state_.load(std::memory_order_acquire) & ~kCallerSleeps) == 0; };
  if (SpinUntil(options_.spin, empty)) return;
  state_.fetch_or(kCallerSleeps, std::memory_order_acq_rel);
  while (!empty()) {
    const uint32_t state = state_.load(std::memory_order_acquire);
    if (state != kCallerSleeps) FutexWait(state_, state);
  }
}

}  // namespace sluice::base

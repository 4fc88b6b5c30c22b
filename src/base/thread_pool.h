// A pool of worker threads for data-parallel loops: the compute threads of one device. Not a task
// queue.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/function_ref.h"

namespace sluice::base {

// Owned by whoever owns the device (a loop's lease holder calls it, one thread at a time in the
// usual case). Every method is thread-safe: while one ParallelFor runs, another one (from inside
// its body, or from another thread) runs inline. A call allocates nothing. Tiles are claimed from
// one atomic counter, so a slow worker takes fewer of them.
class ThreadPool {
 public:
  struct Options {
    int workers = 0;  // beside the caller; 0: everything runs inline
    std::string name =
        "sluice-compute";  // threads are called name-0, name-1, … (15 characters are kept)
    int nice = 0;          // added to the workers' nice level, so that io threads go first
    Duration spin = Duration::Micros(50);  // how long an idle worker polls before it sleeps
    Duration inline_below =
        Duration::Micros(200);  // less predicted work than this runs on the caller alone
    // The same while no worker sleeps: they take a job within a microsecond then. Kernels of one
    // step follow one another like that.
    Duration inline_below_awake = Duration::Micros(20);
  };
  static constexpr int kWorkersMax = 1024;

  explicit ThreadPool(Options options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls body(begin, end) for disjoint ranges that cover [0, count) and returns when all are done.
  // `item_ns` is the predicted time of one item in nanoseconds; it decides whether to split and how
  // finely, never what is computed.
  void ParallelFor(int64_t count, double item_ns, FunctionRef<void(int64_t, int64_t)> body);
  // The same with the lane that runs the range, in [0, lanes()): no two ranges run in one lane at
  // once, so that each lane can have its own scratch memory.
  void ParallelForLanes(int64_t count, double item_ns,
                        FunctionRef<void(int64_t begin, int64_t end, int lane)> body);

  int workers() const { return static_cast<int>(threads_.size()); }
  int lanes() const { return workers() + 1; }

 private:
  // What the workers run. Written only while no worker is inside (state_ closed and empty).
  struct Job {
    const FunctionRef<void(int64_t, int64_t, int)>* body = nullptr;
    int64_t count = 0;
    int64_t tile = 1;
  };

  void WorkerMain(int lane);
  bool TryEnter();
  void Leave();
  void RunTiles(int lane);
  void WaitForWork(uint32_t seen);
  void WaitUntilEmpty();

  const Options options_;
  Job job_;
  alignas(64) std::atomic<int64_t> next_{0};  // first item that nobody has claimed
  alignas(64) std::atomic<uint32_t> state_{
      0};  // kOpen while a job takes workers, plus how many are inside
  alignas(64) std::atomic<uint32_t> epoch_{0};  // counts jobs; idle workers wait for it to change
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> busy_{false};  // a ParallelFor is running
  std::vector<std::thread> threads_;
};

}  // namespace sluice::base

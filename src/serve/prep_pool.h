// The threads on which requests are prepared whose preparation would hold up an io thread: long
// texts to tokenise.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice::serve {

// Thread-safe. Bounded, and below the priority of io and compute threads.
class PrepPool {
 public:
  struct Limits {
    int64_t jobs_max = 256;
    int64_t bytes_max = 256 << 20;  // of the payloads of the requests in them
  };
  PrepPool(int64_t threads, Limits limits);
  ~PrepPool();

  // False: the queue is full or the pool stops. A job that was taken always runs.
  bool Enqueue(std::function<void()> job, int64_t bytes);
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }  // waiting or running
  // Runs what is queued and joins.
  void Stop();

 private:
  void Run();

  struct Job {
    std::function<void()> run;
    int64_t bytes = 0;
  };

  const Limits limits_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;   // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::atomic<int64_t> bytes_{0};
  std::vector<std::thread> threads_;
};

}  // namespace sluice::serve

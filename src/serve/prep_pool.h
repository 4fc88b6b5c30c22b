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
  PrepPool(int64_t threads, int64_t queue_max);
  ~PrepPool();

  // False: the queue is full or the pool stops. A job that was taken always runs.
  bool Enqueue(std::function<void()> job);
  // Runs what is queued and joins.
  void Stop();

 private:
  void Run();

  const size_t queue_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;  // guarded by mutex_
  bool stopping_ = false;                   // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace sluice::serve

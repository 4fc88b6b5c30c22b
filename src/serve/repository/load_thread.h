// The one thread on which models are loaded and destroyed, below the priority of those that serve
// once there are such.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/version.h"

namespace sluice::serve {

// Thread-safe. Jobs run one after the other; retired versions are destroyed between them.
class LoadThread {
 public:
  LoadThread();
  ~LoadThread();

  // False: too many jobs wait, or the thread is stopping.
  bool Enqueue(std::function<void()> job);
  // Whatever waits: for the owner's own last job.
  bool EnqueueLast(std::function<void()> job);
  // Behind what is enqueued by now, the thread runs at a lower priority.
  void LowerPriority();
  // What an engine's last pin is handed to; one for each engine. The thread does not end before it
  // is gone.
  engine::EngineVersion::Retire MakeRetire();
  // Runs what was enqueued, waits until every version has come back and was destroyed, joins.
  void Stop();

  static constexpr size_t kJobsMax = 4096;

 private:
  struct Queue;
  struct Token;
  void Run();

  const std::shared_ptr<Queue> queue_;
  std::thread thread_;
};

}  // namespace sluice::serve

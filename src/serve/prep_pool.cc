#include "serve/prep_pool.h"

#include <sys/resource.h>

namespace sluice::serve {

namespace {
constexpr int kNice = 5;
}  // namespace

PrepPool::PrepPool(int64_t threads, int64_t queue_max)
    : queue_max_(static_cast<size_t>(queue_max)) {
  for (int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

PrepPool::~PrepPool() {
  Stop();
}

bool PrepPool::Enqueue(std::function<void()> job) {
  std::lock_guard lock(mutex_);
  if (stopping_ || jobs_.size() >= queue_max_) return false;
  jobs_.push_back(std::move(job));
  changed_.notify_one();
  return true;
}

void PrepPool::Run() {
  setpriority(PRIO_PROCESS, 0, kNice);  // of this thread; a refusal is no error
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    job = nullptr;
    lock.lock();
  }
}

void PrepPool::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace sluice::serve

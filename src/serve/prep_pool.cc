#include "serve/prep_pool.h"

#include <sys/resource.h>

namespace sluice::serve {

namespace {
constexpr int kNice = 5;
}  // namespace

PrepPool::PrepPool(int64_t threads, Limits limits) : limits_(limits) {
  for (int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

PrepPool::~PrepPool() {
  Stop();
}

bool PrepPool::Enqueue(std::function<void()> job, int64_t bytes) {
  std::lock_guard lock(mutex_);
  if (stopping_ || static_cast<int64_t>(jobs_.size()) >= limits_.jobs_max ||
      bytes > limits_.bytes_max - this->bytes()) {
    return false;
  }
  bytes_.fetch_add(bytes, std::memory_order_relaxed);
  jobs_.push_back({std::move(job), bytes});
  changed_.notify_one();
  return true;
}

void PrepPool::Run() {
  setpriority(PRIO_PROCESS, 0, kNice);  // of this thread; a refusal is no error
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job.run();
    job.run = nullptr;
    bytes_.fetch_sub(job.bytes, std::memory_order_relaxed);
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

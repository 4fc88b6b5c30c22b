#include "serve/repository/load_thread.h"

#include <sys/resource.h>

#include <algorithm>

namespace sluice::serve {

namespace {
constexpr int kNice = 10;
}  // namespace

struct LoadThread::Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> jobs;
  std::vector<std::unique_ptr<engine::EngineVersion>> retired;
  int64_t tokens = 0;  // of versions that have not come back yet
  bool stopping = false;
};

// Held by the way back of one version: while it lives, the thread must.
struct LoadThread::Token {
  explicit Token(std::shared_ptr<Queue> q) : queue(std::move(q)) {
    std::lock_guard lock(queue->mutex);
    ++queue->tokens;
  }
  ~Token() {
    std::lock_guard lock(queue->mutex);
    --queue->tokens;
    queue->changed.notify_one();
  }
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;
  const std::shared_ptr<Queue> queue;
};

LoadThread::LoadThread() : queue_(std::make_shared<Queue>()) {
  thread_ = std::thread([this] { Run(); });
}

LoadThread::~LoadThread() {
  Stop();
}

bool LoadThread::Enqueue(std::function<void()> job) {
  std::lock_guard lock(queue_->mutex);
  if (queue_->stopping || queue_->jobs.size() >= kJobsMax) return false;
  queue_->jobs.push_back(std::move(job));
  queue_->changed.notify_one();
  return true;
}

bool LoadThread::EnqueueLast(std::function<void()> job) {
  std::lock_guard lock(queue_->mutex);
  if (queue_->stopping) return false;
  queue_->jobs.push_back(std::move(job));
  queue_->changed.notify_one();
  return true;
}

void LoadThread::LowerPriority() {
  EnqueueLast([] {
    // Of this thread; a refusal is no error.
    setpriority(PRIO_PROCESS, 0, std::max(kNice, getpriority(PRIO_PROCESS, 0)));
  });
}

engine::EngineVersion::Retire LoadThread::MakeRetire() {
  return [token = std::make_shared<Token>(queue_)](std::unique_ptr<engine::EngineVersion> version) {
    std::lock_guard lock(token->queue->mutex);
    token->queue->retired.push_back(std::move(version));
    token->queue->changed.notify_one();
  };
}

void LoadThread::Run() {
  std::unique_lock lock(queue_->mutex);
  for (;;) {
    Queue& q = *queue_;
    q.changed.wait(lock, [&] {
      return !q.retired.empty() || !q.jobs.empty() || (q.stopping && q.tokens == 0);
    });
    if (!q.retired.empty()) {
      std::vector<std::unique_ptr<engine::EngineVersion>> retired;
      retired.swap(q.retired);
      lock.unlock();
      retired.clear();
      lock.lock();
    } else if (!q.jobs.empty()) {
      std::function<void()> job = std::move(q.jobs.front());
      q.jobs.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
    } else {
      return;
    }
  }
}

void LoadThread::Stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(queue_->mutex);
    queue_->stopping = true;
    queue_->changed.notify_one();
  }
  thread_.join();
}

}  // namespace sluice::serve

// The device loop among threads: submitters, cancels, events, models that come and go, a drain.
// Meant for TSan.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "engine/device_loop.h"
#include "sim/recording_sink.h"

namespace sluice::sim {
namespace {

using base::Duration;
using engine::DeviceLoop;
using engine::EngineVersion;
using VersionPin = std::shared_ptr<const EngineVersion>;

// The thread on which versions are destroyed.
class LoadThread {
 public:
  LoadThread() : thread_([this] { Main(); }) {}
  ~LoadThread() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    ready_.notify_one();
    thread_.join();
  }
  void Retire(std::unique_ptr<EngineVersion> version) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      retired_.push_back(std::move(version));
    }
    ready_.notify_one();
  }
  int64_t destroyed() const { return destroyed_.load(); }

 private:
  void Main() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      ready_.wait(lock, [this] { return stop_ || !retired_.empty(); });
      if (retired_.empty()) return;
      std::unique_ptr<EngineVersion> last = std::move(retired_.front());
      retired_.pop_front();
      lock.unlock();
      last.reset();
      destroyed_.fetch_add(1);
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::unique_ptr<EngineVersion>> retired_;
  bool stop_ = false;
  std::atomic<int64_t> destroyed_{0};
  std::thread thread_;
};

// What a router holds: a pin that load threads replace while submitters copy it.
class Route {
 public:
  void Set(VersionPin pin) {
    const std::lock_guard<std::mutex> lock(mutex_);
    pin_.swap(pin);
  }
  VersionPin Get() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return pin_;
  }

 private:
  mutable std::mutex mutex_;
  VersionPin pin_;
};

FakeEngine::Options Model(const char* name, Duration fixed) {
  FakeEngine::Options options;
  options.name = name;
  options.fixed = fixed;
  options.prior = fixed;
  options.piece = Duration::Micros(100);
  options.spend = SpinFor;
  options.batching.rows_max = 8;
  return options;
}

class DeviceLoopStress : public ::testing::Test {
 protected:
  VersionPin Load(DeviceLoop& loop, FakeEngine::Options options) {
    ++loaded_;
    return EngineVersion::Create(std::make_unique<FakeEngine>(std::move(options)), loop,
                                 [this](auto version) { load_.Retire(std::move(version)); })
        .value();
  }
  // The loop must outlive its versions, the last of which may still be on their way to the load
  // thread.
  void AwaitDestruction() {
    while (load_.destroyed() < loaded_.load()) std::this_thread::yield();
  }
  std::atomic<int64_t> loaded_{0};
  LoadThread load_;
};

TEST_F(DeviceLoopStress, EveryRequestOfManyThreadsHasOneAnswer) {
  constexpr int kThreads = 4;
  constexpr int kEach = 1500;
  {
    DeviceLoop loop(DeviceLoop::Options{});
    EXPECT_GT(loop.handoff_cost(), Duration{});
    Route fast;
    Route slow;
    fast.Set(Load(loop, Model("fast", Duration::Micros(2))));
    slow.Set(Load(loop, Model("slow", Duration::Millis(1))));
    std::atomic<uint64_t> tokens{1};
    std::atomic<bool> done{false};
    struct Record {
      Sent sent;
      bool parked;
      bool plain;  // nothing but a failing step may keep it from success
    };
    std::vector<std::vector<Record>> records(kThreads);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        uint64_t state = static_cast<uint64_t>(t) + 1;
        for (int i = 0; i < kEach; ++i) {
          state = state * 6364136223846793005u + 1442695040888963407u;
          const uint64_t dice = state >> 33;
          Wish wish;
          wish.shape = dice % 3;
          wish.rows = 1 + static_cast<int64_t>(dice % 4);
          wish.fails = dice % 50 == 0;
          if (dice % 3 == 0) {
            wish.deadline = base::SystemClock::Get().Now() +
                            Duration::Micros(static_cast<int64_t>(dice % 20'000));
          }
          VersionPin pin = dice % 16 == 1 ? slow.Get() : fast.Get();
          if (dice % 20 == 2) wish.park_token = tokens.fetch_add(1);
          const uint64_t token = wish.park_token;
          const bool cancels = dice % 10 == 3;
          const bool plain = token == 0 && !cancels && wish.deadline.never();
          records[static_cast<size_t>(t)].push_back({Send(pin, wish), token != 0, plain});
          if (cancels) records[static_cast<size_t>(t)].back().sent.call->Cancel();
          if (token != 0 && dice % 5 != 0) engine::PostEvent(pin, {token, base::Ok()});
          if (dice % 8 == 0) std::this_thread::yield();
        }
      });
    }
    std::thread reloader([&] {
      int64_t loads = 0;
      while (!done.load()) {
        Route& route = loads++ % 2 == 0 ? fast : slow;
        route.Set(loads % 2 == 1 ? Load(loop, Model("fast", Duration::Micros(2)))
                                 : Load(loop, Model("slow", Duration::Millis(1))));
        (void)fast.Get()->statistics().snapshot();
      }
    });
    for (std::thread& thread : threads) thread.join();
    done.store(true);
    reloader.join();
    loop.BeginDrain();
    const Sent late = Send(fast.Get(), {});
    EXPECT_EQ(late.sink->reason(), engine::reason::kDraining);
    // What still waits for an event that never comes gives up.
    for (const auto& its : records) {
      for (const Record& one : its) {
        if (one.parked) one.sent.call->Cancel();
      }
    }
    EXPECT_TRUE(loop.WaitDrained(base::Time::Never()));
    for (const auto& its : records) {
      for (const Record& one : its) {
        ASSERT_TRUE(one.sent.sink->answered());
        if (one.plain) {
          EXPECT_EQ(one.sent.sink->reason(), "");
        }
      }
    }
    EXPECT_EQ(loop.unanswered(), 0);
    fast.Set(nullptr);
    slow.Set(nullptr);
    AwaitDestruction();
  }
}

TEST_F(DeviceLoopStress, AStepThatSubmitRunsLeavesTheRestToTheWorker) {
  DeviceLoop loop(DeviceLoop::Options{});
  VersionPin fast = Load(loop, Model("fast", Duration::Micros(2)));
  VersionPin slow = Load(loop, Model("slow", Duration::Millis(2)));
  // The first request of each may go either way; all get an answer without anybody waiting for the
  // worker's timer.
  std::vector<Sent> sent;
  for (int i = 0; i < 50; ++i) {
    sent.push_back(Send(i % 5 == 0 ? slow : fast, {}));
  }
  loop.BeginDrain();
  EXPECT_TRUE(loop.WaitDrained(base::Time::Never()));
  for (const Sent& one : sent) EXPECT_TRUE(one.sink->reply().status.ok());
  sent.clear();
  fast.reset();
  slow.reset();
  AwaitDestruction();
}

}  // namespace
}  // namespace sluice::sim

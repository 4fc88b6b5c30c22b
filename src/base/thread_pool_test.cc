#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace sluice::base {
namespace {

constexpr double kHeavy = 1e6;  // nanoseconds an item: always worth splitting

// Waits until `flag` is set; the test's own limit ends a hang.
void Await(const std::atomic<bool>& flag) {
  while (!flag.load()) std::this_thread::yield();
}

TEST(ThreadPool, CoversEveryItemExactlyOnceForAnyCountAndWidth) {
  for (const int workers : {0, 1, 3, 8}) {
    ThreadPool pool({.workers = workers});
    for (const int64_t count : {0, 1, 2, 3, 7, 64, 1000, 4099}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
      pool.ParallelFor(count, kHeavy, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) hits[static_cast<size_t>(i)].fetch_add(1);
      });
      for (const std::atomic<int>& hit : hits) ASSERT_EQ(hit.load(), 1);
    }
  }
}

TEST(ThreadPool, WritesOfWorkersAreVisibleAfterTheCall) {
  ThreadPool pool({.workers = 3});
  std::vector<int64_t> squares(5000);
  for (int round = 0; round < 200; ++round) {
    pool.ParallelFor(5000, kHeavy, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) squares[static_cast<size_t>(i)] = i * i + round;
    });
    for (int64_t i = 0; i < 5000; ++i) ASSERT_EQ(squares[static_cast<size_t>(i)], i * i + round);
  }
}

TEST(ThreadPool, WorkBelowTheThresholdStaysOnTheCallerInOnePiece) {
  ThreadPool pool({.workers = 2,
                   .inline_below = Duration::Micros(200),
                   .inline_below_awake = Duration::Micros(200)});
  const std::thread::id caller = std::this_thread::get_id();
  int calls = 0;
  pool.ParallelFor(1000, 199.0, [&](int64_t begin, int64_t end) {
    ++calls;
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 1000);
  });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadPool, AWorkerTakesTilesWhileTheCallerIsHeldUp) {
  ThreadPool pool({.workers = 1});
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> worker_came{false};
  pool.ParallelFor(64, kHeavy, [&](int64_t, int64_t) {
    if (std::this_thread::get_id() == caller) {
      Await(worker_came);
    } else {
      worker_came = true;
    }
  });
  EXPECT_TRUE(worker_came);
}

TEST(ThreadPool, AnAwakeWorkerTakesWorkThatIsNotWorthWakingIt) {
  ThreadPool pool({.workers = 1,
                   .spin = Duration::Seconds(60),
                   .inline_below = Duration::Seconds(1),
                   .inline_below_awake = Duration::Micros(20)});
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> worker_came{false};
  pool.ParallelFor(64, 1000, [&](int64_t, int64_t) {
    if (std::this_thread::get_id() == caller) {
      Await(worker_came);
    } else {
      worker_came = true;
    }
  });
  EXPECT_TRUE(worker_came);
}

TEST(ThreadPool, ASleepingWorkerIsWoken) {
  ThreadPool pool({.workers = 1, .spin = Duration{0}});
  const std::thread::id caller = std::this_thread::get_id();
  for (int round = 0; round < 300; ++round) {
    std::atomic<bool> worker_came{false};
    pool.ParallelFor(64, kHeavy, [&](int64_t, int64_t) {
      if (std::this_thread::get_id() == caller) {
        Await(worker_came);
      } else {
        worker_came = true;
      }
    });
  }
}

TEST(ThreadPool, NoTwoRangesRunInOneLaneAtOnce) {
  ThreadPool pool({.workers = 3});
  std::vector<std::atomic<int>> inside(static_cast<size_t>(pool.lanes()));
  std::atomic<bool> clash{false};
  for (int round = 0; round < 50; ++round) {
    pool.ParallelForLanes(400, kHeavy, [&](int64_t, int64_t, int lane) {
      std::atomic<int>& mine = inside.at(static_cast<size_t>(lane));
      if (mine.fetch_add(1) != 0) clash = true;
      mine.fetch_sub(1);
    });
  }
  EXPECT_FALSE(clash);
}

TEST(ThreadPool, ACallFromInsideABodyRunsInline) {
  ThreadPool pool({.workers = 2});
  std::atomic<int64_t> sum{0};
  std::atomic<bool> moved{false};
  pool.ParallelFor(32, kHeavy, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::thread::id outer = std::this_thread::get_id();
      pool.ParallelFor(100, kHeavy, [&](int64_t b, int64_t e) {
        if (std::this_thread::get_id() != outer) moved = true;
        sum += e - b;
      });
    }
  });
  EXPECT_EQ(sum.load(), 3200);
  EXPECT_FALSE(moved);
}

TEST(ThreadPool, CallersOnManyThreadsAreAllServed) {
  ThreadPool pool({.workers = 2});
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        pool.ParallelFor(64, kHeavy, [&](int64_t begin, int64_t end) { sum += end - begin; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum.load(), 4 * 200 * 64);
}

TEST(ThreadPool, StopsWithAndWithoutHavingWorked) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool({.workers = 2, .spin = Duration{0}});
    if (round % 2 == 0) pool.ParallelFor(8, kHeavy, [](int64_t, int64_t) {});
  }
}

TEST(ThreadPoolDeath, RefusesMoreWorkersThanItsLimit) {
  EXPECT_DEATH(ThreadPool({.workers = ThreadPool::kWorkersMax + 1}), "CHECK failed");
}

}  // namespace
}  // namespace sluice::base

#include "base/queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace sluice::base {
namespace {

TEST(BoundedQueue, GivesValuesBackInTheOrderOfOneProducer) {
  BoundedQueue<int> queue(4);
  for (int lap = 0; lap < 100; ++lap) {
    EXPECT_TRUE(queue.TryPush(3 * lap));
    EXPECT_TRUE(queue.TryPush(3 * lap + 1));
    EXPECT_TRUE(queue.TryPush(3 * lap + 2));
    EXPECT_EQ(queue.TryPop(), 3 * lap);
    EXPECT_EQ(queue.TryPop(), 3 * lap + 1);
    EXPECT_EQ(queue.TryPop(), 3 * lap + 2);
    EXPECT_EQ(queue.TryPop(), std::nullopt);
  }
}

TEST(BoundedQueue, HoldsExactlyItsCapacityEvenWhenThatIsNoPowerOfTwo) {
  for (const size_t capacity : {1u, 2u, 3u, 5u, 8u, 100u}) {
    BoundedQueue<size_t> queue(capacity);
    for (int lap = 0; lap < 3; ++lap) {
      for (size_t i = 0; i < capacity; ++i) ASSERT_TRUE(queue.TryPush(size_t{i}));
      EXPECT_FALSE(queue.TryPush(size_t{9}));
      EXPECT_EQ(queue.size(), capacity);
      for (size_t i = 0; i < capacity; ++i) ASSERT_EQ(queue.TryPop(), i);
      EXPECT_TRUE(queue.empty());
    }
  }
}

TEST(BoundedQueue, ARefusedValueStaysWithItsOwner) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  auto refused = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPush(std::move(refused)));
  ASSERT_NE(refused, nullptr);
  EXPECT_EQ(*refused, 2);
}

TEST(BoundedQueue, DrainTakesAtMostWhatItIsAllowed) {
  BoundedQueue<int> queue(8);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(queue.TryPush(int{i}));
  std::vector<int> taken;
  EXPECT_EQ(queue.Drain([&](int value) { taken.push_back(value); }, 4), 4u);
  EXPECT_EQ(taken, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(queue.Drain([&](int value) { taken.push_back(value); }), 2u);
  EXPECT_EQ(taken.size(), 6u);
}

TEST(BoundedQueue, DestroysWhatNobodyTook) {
  auto shared = std::make_shared<int>(7);
  {
    BoundedQueue<std::shared_ptr<int>> queue(4);
    EXPECT_TRUE(queue.TryPush(std::shared_ptr<int>(shared)));
    EXPECT_TRUE(queue.TryPush(std::shared_ptr<int>(shared)));
    EXPECT_EQ(shared.use_count(), 3);
  }
  EXPECT_EQ(shared.use_count(), 1);
}

TEST(BoundedQueue, ManyProducersLoseAndDuplicateNothingAndKeepTheirOrder) {
  constexpr int kProducers = 4;
  constexpr int kEach = 20000;
  BoundedQueue<std::unique_ptr<int>> queue(64);
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&queue, p] {
      for (int i = 0; i < kEach; ++i) {
        auto value = std::make_unique<int>(p * kEach + i);
        while (!queue.TryPush(std::move(value))) std::this_thread::yield();
      }
    });
  }
  std::vector<int> next(kProducers, 0);
  for (int taken = 0; taken < kProducers * kEach;) {
    const size_t got = queue.Drain([&](std::unique_ptr<int> value) {
      const int producer = *value / kEach;
      ASSERT_EQ(*value % kEach, next[static_cast<size_t>(producer)]++);
      ++taken;
    });
    ASSERT_LE(queue.size(), queue.capacity());
    if (got == 0) std::this_thread::yield();
  }
  for (std::thread& producer : producers) producer.join();
  EXPECT_TRUE(queue.empty());
}

TEST(BoundedQueueDeath, RefusesACapacityOutsideItsLimits) {
  EXPECT_DEATH(BoundedQueue<int>(0), "CHECK failed");
  EXPECT_DEATH(BoundedQueue<int>(BoundedQueue<int>::kCapacityMax + 1), "CHECK failed");
}

}  // namespace
}  // namespace sluice::base

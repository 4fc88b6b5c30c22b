#include "graph/memory_planner.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::graph {
namespace {

TEST(MemoryPlannerTest, BuffersThatLiveAtTheSameTimeNeverOverlap) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::vector<BufferLife> buffers(1 + random() % 60);
    for (BufferLife& b : buffers) {
      b.bytes = static_cast<int64_t>(random() % 5000);
      b.first = static_cast<int32_t>(random() % 40);
      b.last = b.first + static_cast<int32_t>(random() % 10);
    }
    const int64_t total = PlanMemory(buffers);
    for (size_t i = 0; i < buffers.size(); ++i) {
      const BufferLife& a = buffers[i];
      ASSERT_EQ(a.offset % 64, 0) << "seed " << seed;
      ASSERT_LE(a.offset + a.bytes, total) << "seed " << seed;
      for (size_t j = 0; j < i; ++j) {
        const BufferLife& b = buffers[j];
        const bool together = a.first <= b.last && b.first <= a.last;
        const bool overlap = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
        ASSERT_FALSE(together && overlap && a.bytes > 0 && b.bytes > 0)
            << "seed " << seed << " buffers " << i << " and " << j;
      }
    }
  }
}

TEST(MemoryPlannerTest, AChainOfBuffersTakesTheTwoLargestNeighbours) {
  std::vector<BufferLife> buffers(10);
  for (int32_t i = 0; i < 10; ++i) buffers[static_cast<size_t>(i)] = {1024, i, i + 1, 0};
  EXPECT_EQ(PlanMemory(buffers), 2048);
}

TEST(MemoryPlannerTest, NoBuffersTakeNoMemory) {
  EXPECT_EQ(PlanMemory({}), 0);
}

}  // namespace
}  // namespace sluice::graph

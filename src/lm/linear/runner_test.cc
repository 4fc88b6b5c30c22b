#include "lm/linear/runner.h"

#include <atomic>
#include <vector>

#include <gtest/gtest.h>

namespace sluice::lm {
namespace {

TEST(Runner, RunsEveryTileOnceWhateverTheCountAndTheLanes) {
  for (const int workers : {0, 1, 4}) {
    base::ThreadPool::Options options;
    options.workers = workers;
    base::ThreadPool pool(options);
    Runner runner({.pool = &pool});
    for (const int64_t count : {0, 1, 2, 3, 13, 14, 15, 97, 4748}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
      ASSERT_TRUE(runner.RunTiles(count, 1e9, [&](kernels::Tiles range) {
        EXPECT_LT(range.begin, range.end);
        for (int64_t i = range.begin; i < range.end; ++i) ++seen[static_cast<size_t>(i)];
      }));
      for (const std::atomic<int>& times : seen) EXPECT_EQ(times, 1) << workers << " " << count;
    }
  }
}

}  // namespace
}  // namespace sluice::lm

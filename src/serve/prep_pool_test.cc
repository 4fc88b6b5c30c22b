#include "serve/prep_pool.h"

#include <gtest/gtest.h>

#include <future>

namespace sluice::serve {
namespace {

TEST(PrepPool, RefusesBeyondItsJobsAndTheirBytesUntilTheyAreDone) {
  PrepPool pool(1, {3, 100});
  std::promise<void> begun, go;
  std::future<void> wait = go.get_future();
  ASSERT_TRUE(pool.Enqueue(
      [&] {
        begun.set_value();
        wait.wait();
      },
      60));
  begun.get_future().wait();
  EXPECT_FALSE(pool.Enqueue([] {}, 41)) << "the running job's bytes count";
  EXPECT_TRUE(pool.Enqueue([] {}, 40));
  EXPECT_EQ(pool.bytes(), 100);
  EXPECT_FALSE(pool.Enqueue([] {}, 1));
  EXPECT_TRUE(pool.Enqueue([] {}, 0));
  EXPECT_TRUE(pool.Enqueue([] {}, 0));
  EXPECT_FALSE(pool.Enqueue([] {}, 0)) << "three wait";
  go.set_value();
  pool.Stop();
  EXPECT_EQ(pool.bytes(), 0);
}

}  // namespace
}  // namespace sluice::serve

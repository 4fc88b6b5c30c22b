#include "serve/repository/load_thread.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>

namespace sluice::serve {
namespace {

TEST(LoadThread, RunsAtTheProcessesPriorityUntilItIsLowered) {
  int before = -100, after = -100;
  {
    LoadThread thread;
    thread.Enqueue([&] { before = getpriority(PRIO_PROCESS, 0); });
    thread.LowerPriority();
    thread.Enqueue([&] { after = getpriority(PRIO_PROCESS, 0); });
  }
  EXPECT_EQ(before, getpriority(PRIO_PROCESS, 0));
  EXPECT_EQ(after, std::max(before, 10));
}

}  // namespace
}  // namespace sluice::serve

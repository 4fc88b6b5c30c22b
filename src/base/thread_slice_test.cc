#include "base/thread_slice.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <thread>

namespace sluice::base {
namespace {

TEST(ThreadSliceTest, IsAskedForTheThreadAndThoseItStartsAndLeavesTheirShare) {
  std::thread([] {
    setpriority(PRIO_PROCESS, 0, 3);  // of this thread
    const Duration before = AskedSlice();
    AskForSlice(kBriefSlice);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 3);
    // Zero: a kernel that knows no slices.
    if (before > Duration{} && AskedSlice() == before)
      GTEST_SKIP() << "slices are not the thread's";
    if (AskedSlice() == Duration{}) GTEST_SKIP() << "the kernel knows no slices";
    EXPECT_EQ(AskedSlice(), kBriefSlice);
    std::thread([] { EXPECT_EQ(AskedSlice(), kBriefSlice); }).join();
  }).join();
}

}  // namespace
}  // namespace sluice::base

#include "kernels/target.h"

#include <gtest/gtest.h>

namespace sluice::kernels {
namespace {

TEST(Target, TheBestAvailableTargetIsActiveAndAnyAvailableOneCanBeForced) {
  if (!CheckCpu().ok()) GTEST_SKIP() << CheckCpu().error().message;
  const Target best = AvailableTargets().back();
  EXPECT_EQ(ActiveTarget(), best);
  for (Target t : AvailableTargets()) {
    SetTargetForTesting(t);
    EXPECT_EQ(ActiveTarget(), t);
  }
  EXPECT_EQ(ActiveTarget(), best);
}

}  // namespace
}  // namespace sluice::kernels

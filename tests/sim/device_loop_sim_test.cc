// Ten thousand random lives of the device loop. SLUICE_SIM_SEED=seed,depth reruns one.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "sim/simulation.h"

namespace sluice::sim {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSeeds = 2'000;  // a sanitizer costs ten times as much a seed
#else
constexpr uint64_t kSeeds = 10'000;
#endif

void RunSeeds(int depth, uint64_t first, uint64_t count) {
  Tally all;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    Simulation simulation(seed, depth);
    const std::string broken = simulation.Run();
    ASSERT_EQ(broken, "") << "seed " << seed << " depth " << depth;
    all.Add(simulation.tally());
  }
  std::printf(
      "depth %d: %ld seeds, %ld requests, %ld ok (%ld late), %ld failed, %ld steps "
      "(%ld nested, %ld of them twice, %ld joined), %ld versions;",
      depth, static_cast<long>(count), static_cast<long>(all.submitted), static_cast<long>(all.ok),
      static_cast<long>(all.late), static_cast<long>(all.failed), static_cast<long>(all.steps),
      static_cast<long>(all.nested), static_cast<long>(all.nested_twice),
      static_cast<long>(all.joined), static_cast<long>(all.versions));
  for (const auto& [why, n] : all.refused)
    std::printf(" %s %ld", why.c_str(), static_cast<long>(n));
  std::printf("\n");
  // The runs reach every way in which a request can end.
  EXPECT_EQ(all.submitted, all.answered);
  EXPECT_GT(all.ok, 0);
  EXPECT_GT(all.late, 0);
  EXPECT_GT(all.failed, 0);
  EXPECT_GT(all.joined, 0);
  // Steps are abandoned at safepoints, which a stream has none of.
  EXPECT_EQ(all.refused.size(), depth == 1 ? 6u : 5u);
  if (depth == 1) {
    EXPECT_GT(all.nested, 0);
    EXPECT_GT(all.nested_twice, 0);
  }
}

TEST(DeviceLoopSim, RerunsOneSeed) {
  const char* const wanted = std::getenv("SLUICE_SIM_SEED");
  if (wanted == nullptr) GTEST_SKIP() << "set SLUICE_SIM_SEED=seed,depth to rerun one";
  uint64_t seed = 0;
  int depth = 1;
  ASSERT_EQ(std::sscanf(wanted, "%lu,%d", &seed, &depth), 2);
  Simulation simulation(seed, depth);
  EXPECT_EQ(simulation.Run(), "");
}

TEST(DeviceLoopSim, HoldsItsInvariantsAtDepth1) {
  RunSeeds(1, 0, kSeeds * 2 / 5);
}
TEST(DeviceLoopSim, HoldsItsInvariantsAtDepth2) {
  RunSeeds(2, kSeeds, kSeeds * 3 / 10);
}
TEST(DeviceLoopSim, HoldsItsInvariantsAtDepth3) {
  RunSeeds(3, 2 * kSeeds, kSeeds * 3 / 10);
}

}  // namespace
}  // namespace sluice::sim

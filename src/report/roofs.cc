#include "report/roofs.h"

#include <algorithm>

#include "base/check.h"
#include "base/machine.h"
#include "kernels/roof.h"

namespace sluice::report {
namespace {

// Beyond this a working set is read from memory, or from a last cache so large that it serves as
// memory.
constexpr int64_t kMemoryBytes = int64_t{64} << 20;

}  // namespace

const MemoryLevel& Roofs::LevelOf(int64_t bytes) const {
  CHECK(!levels.empty());
  for (const MemoryLevel& level : levels) {
    if (bytes <= level.bytes) return level;
  }
  return levels.back();
}

Roofs MeasureRoofs() {
  const base::CacheSizes caches = base::DescribeMachine().caches;
  Roofs roofs;
  struct Candidate {
    std::string_view name;
    int64_t bytes;
  };
  // Three quarters of a cache: the rest holds what else a step touches. The last cache is shared,
  // so no more of it is counted on than a core's fair part.
  const Candidate candidates[] = {
      {"L1", caches.l1_bytes * 3 / 4},
      {"L2", caches.l2_bytes * 3 / 4},
      {"L3", std::min(caches.l3_bytes / 2, kMemoryBytes / 4)},
      {"memory", kMemoryBytes},
  };
  for (const Candidate& candidate : candidates) {
    if (candidate.bytes < 4096) continue;
    if (!roofs.levels.empty() && candidate.bytes <= roofs.levels.back().bytes) continue;
    roofs.levels.push_back({candidate.name, candidate.bytes, 0});
  }
  for (int round = 0; round < 3; ++round) {
    roofs.gflops = std::max(roofs.gflops, kernels::MultiplyAddRoof());
    for (const kernels::WeightForm form :
         {kernels::WeightForm::kBF16, kernels::WeightForm::kInt8}) {
      const kernels::LowPath path = kernels::PathFor(form);
      double& best = roofs.dots_gflops[static_cast<size_t>(path)];
      best = std::max(best, kernels::LowPathRoof(path));
    }
    for (MemoryLevel& level : roofs.levels) {
      level.gbytes = std::max(level.gbytes, kernels::ReadRoof(level.bytes));
    }
  }
  // A nearer level is never the slower one; measured apart, noise may say so.
  for (size_t i = roofs.levels.size() - 1; i-- > 0;) {
    roofs.levels[i].gbytes = std::max(roofs.levels[i].gbytes, roofs.levels[i + 1].gbytes);
  }
  return roofs;
}

}  // namespace sluice::report

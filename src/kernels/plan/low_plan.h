// Chooses tiles and blocks of a product of low precision: pure functions, no effect on any bit of a
// result.
#pragma once

#include <cstdint>

#include "kernels/low_path.h"
#include "kernels/plan/gemm_plan.h"

namespace sluice::kernels {

// What of a product decides its plan.
struct LowPlanInput {
  int64_t m = 0;
  int64_t n = 0;
  int64_t row_bytes = 0;     // of a prepared row
  int64_t column_bytes = 0;  // of a packed column
  int64_t width = 0;         // columns of a panel
  int64_t strip = 0;         // rows of a strip
  int64_t products_max = 0;  // multiply-adds of a tile at most
  int64_t k = 0;
};

// A strip runs over all of k: block_depth is k.
GemmPlan PlanLow(const LowPlanInput& input, const CacheSizes& caches);

}  // namespace sluice::kernels

#include "kernels/plan/low_plan.h"

#include <algorithm>

namespace sluice::kernels {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
int64_t RoundUp(int64_t a, int64_t b) {
  return CeilDiv(a, b) * b;
}

// Rows of a tile where m allows: enough that B, read once a tile, costs little even from L3.
constexpr int64_t kTileRows = 256;
// A tile is at least this many multiply-adds, so that claiming it costs nothing.
constexpr int64_t kTileProductsMin = int64_t{1} << 20;
// With so few rows reading B binds, not multiplying: a tile is then this much of B, about 2 us from
// memory, so that lanes share a small layer evenly. A range of tiles is read as one.
constexpr int64_t kFewRows = 64;
constexpr int64_t kFewRowsTileBytes = int64_t{32} << 10;

}  // namespace

GemmPlan PlanLow(const LowPlanInput& input, const CacheSizes& caches) {
  GemmPlan plan;
  plan.block_depth = input.k;
  // Three quarters of L2 for B; the rest is what streams past it, of A and C. All of A streams once
  // for each block, so that they are few and alike.
  const int64_t in_l2 = caches.l2_bytes * 3 / 4 / std::max<int64_t>(1, input.column_bytes);
  const int64_t columns_max = std::max(input.width, in_l2 / input.width * input.width);
  const int64_t blocks = std::max<int64_t>(1, CeilDiv(input.n, columns_max));
  plan.block_columns = RoundUp(std::max<int64_t>(1, CeilDiv(input.n, blocks)), input.width);

  const int64_t strips = CeilDiv(input.m, input.strip);
  plan.row_tiles = CeilDiv(input.m, kTileRows);
  plan.tile_rows = plan.row_tiles == 0 ? 0 : CeilDiv(strips, plan.row_tiles) * input.strip;
  if (plan.tile_rows != 0) plan.row_tiles = CeilDiv(input.m, plan.tile_rows);
  const int64_t rows = std::max<int64_t>(1, std::min(input.m, plan.tile_rows));
  int64_t columns = input.products_max / (rows * input.k) / input.width * input.width;
  columns = std::max(columns, RoundUp(CeilDiv(kTileProductsMin, rows * input.k), input.width));
  if (input.m <= kFewRows) {
    columns = kFewRowsTileBytes / std::max<int64_t>(1, input.column_bytes) / input.width;
    columns = std::max<int64_t>(1, columns) * input.width;
  }
  columns = std::min(columns, RoundUp(input.n, input.width));
  plan.column_tiles = CeilDiv(input.n, columns);
  plan.tile_columns = RoundUp(CeilDiv(input.n, plan.column_tiles), input.width);
  plan.column_tiles = CeilDiv(input.n, plan.tile_columns);
  return plan;
}

}  // namespace sluice::kernels

#include "kernels/plan/gemm_plan.h"

#include <unistd.h>

#include <algorithm>

#include "kernels/cpu/blocks.h"

namespace sluice::kernels {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
int64_t RoundUp(int64_t a, int64_t b) {
  return CeilDiv(a, b) * b;
}

// What a tile may cost at most, in multiply-adds: 50 to 150 us on one core, well below a quantum of
// 500 us.
constexpr int64_t kTileProducts = int64_t{6} << 20;
// Rows of a tile where m allows: enough that B, read once per tile, costs little even from memory.
constexpr int64_t kTileRows = 112;
// Where k needs several blocks: shorter than the strip, since the passes over C between them are
// hidden better than A's misses in L1. Up to kStripDepth one block wins.
constexpr int64_t kDepthOfMany = 512;
// Where B is read once per strip anyway, a tile is at least this many multiply-adds, so that
// claiming it costs nothing.
constexpr int64_t kTileProductsMin = int64_t{1} << 18;

void CutTiles(int64_t m, int64_t n, int64_t k, int64_t panel, int64_t strip, GemmPlan& plan) {
  // Rows are cut into equal tiles of whole strips, as equal as m allows.
  const int64_t strips = CeilDiv(m, strip);
  plan.row_tiles = CeilDiv(m, kTileRows);
  plan.tile_rows = plan.row_tiles == 0 ? 0 : CeilDiv(strips, plan.row_tiles) * strip;
  if (plan.tile_rows != 0) plan.row_tiles = CeilDiv(m, plan.tile_rows);
  const int64_t rows = std::max<int64_t>(1, std::min(m, plan.tile_rows));
  int64_t columns = kTileProducts / (rows * k) / panel * panel;
  columns = std::max(columns, RoundUp(CeilDiv(kTileProductsMin, rows * k), panel));
  columns = std::min(columns, RoundUp(n, panel));
  plan.column_tiles = CeilDiv(n, columns);
  plan.tile_columns = RoundUp(CeilDiv(n, plan.column_tiles), panel);
  plan.column_tiles = CeilDiv(n, plan.tile_columns);
}

}  // namespace

int64_t PanelColumns(Target target) {
  return target == Target::kAvx512 ? 32 : 16;
}
int64_t StripRows(Target target) {
  return target == Target::kAvx512 ? 14 : 6;
}

const CacheSizes& MachineCaches() {
  static const CacheSizes sizes = [] {
    CacheSizes s;
    const int64_t l1 = sysconf(_SC_LEVEL1_DCACHE_SIZE);
    const int64_t l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (l1 > 0) s.l1_bytes = l1;
    if (l2 > 0) s.l2_bytes = l2;
    return s;
  }();
  return sizes;
}

GemmPlan PlanGemm(int64_t m, int64_t n, int64_t k, Target target, const CacheSizes& caches) {
  const int64_t panel = PanelColumns(target);
  const int64_t strip = StripRows(target);
  GemmPlan plan;
  if (m == 1) {
    plan.block_depth = k;
  } else {
    plan.block_depth = k <= kStripDepth ? k : CeilDiv(k, CeilDiv(k, kDepthOfMany));
  }
  // Half of L2 for B; the rest is A's, C's and the neighbours'.
  const int64_t columns_in_l2 =
      caches.l2_bytes / 2 / (plan.block_depth * static_cast<int64_t>(sizeof(float)));
  plan.block_columns = std::max(panel, columns_in_l2 / panel * panel);
  plan.block_columns = std::min(plan.block_columns, RoundUp(n, panel));

  CutTiles(m, n, k, panel, strip, plan);
  return plan;
}

GemmPlan PlanMatMul(int64_t m, int64_t n, int64_t k, Target target) {
  const int64_t panel = PanelColumns(target);
  GemmPlan plan;
  plan.block_depth = k == 0 ? 0 : CeilDiv(k, CeilDiv(k, kStackDepth));
  plan.block_columns = kStackBlock / std::max<int64_t>(plan.block_depth, panel) / panel * panel;
  plan.block_columns = std::min(plan.block_columns, RoundUp(std::max<int64_t>(n, 1), panel));
  CutTiles(m, std::max<int64_t>(n, 1), std::max<int64_t>(k, 1), panel, StripRows(target), plan);
  return plan;
}

}  // namespace sluice::kernels

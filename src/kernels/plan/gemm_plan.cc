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
// Rows of a tile where m and L2 allow: enough that B, read once per tile, costs little even from
// memory.
constexpr int64_t kTileRows = 144;
// The same for products that pack their block of B themselves.
constexpr int64_t kMatMulRows = 112;
// Rows of A that a block of k leaves room for in half of L2: fewer would read B too often.
constexpr int64_t kTileRowsMin = 80;
// Where B is read once per strip anyway, a tile is at least this many multiply-adds, so that
// claiming it costs nothing.
constexpr int64_t kTileProductsMin = int64_t{1} << 18;

// A single strip is bound by reading B: a tile is then this much of it, about 12 us from memory, so
// that all lanes have a share of a small layer too.
constexpr int64_t kStripTileBytes = int64_t{256} << 10;

// Rows from which on B is kept: it comes from beyond L2 once, and its first strip waits for it.
constexpr int64_t kRowsKeepingB = 1024;
// Panels of B that are kept together at least, if need be by cutting k: each block of them reads A
// anew.
constexpr int64_t kPanelsKept = 4;

// Tiles of at most `rows_max` rows.
void CutTiles(int64_t m, int64_t n, int64_t k, int64_t rows_max, Target target, GemmPlan& plan) {
  const int64_t panel = PanelColumns(target);
  const int64_t strip = StripRows(target);
  // Rows are cut into equal tiles of whole strips, as equal as m allows.
  const int64_t strips = CeilDiv(m, strip);
  plan.row_tiles = CeilDiv(strips, std::max<int64_t>(1, rows_max / strip));
  plan.tile_rows = plan.row_tiles == 0 ? 0 : CeilDiv(strips, plan.row_tiles) * strip;
  if (plan.tile_rows != 0) plan.row_tiles = CeilDiv(m, plan.tile_rows);
  const int64_t rows = std::max<int64_t>(1, std::min(m, plan.tile_rows));
  int64_t columns = kTileProducts / (rows * k) / panel * panel;
  columns = std::max(columns, RoundUp(CeilDiv(kTileProductsMin, rows * k), panel));
  if (m <= strip) {
    const auto column_bytes = k * static_cast<int64_t>(sizeof(float));
    columns = std::max<int64_t>(1, kStripTileBytes / column_bytes / panel) * panel;
  }
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
  const int64_t half = caches.l2_bytes / 2 / static_cast<int64_t>(sizeof(float));
  GemmPlan plan;
  plan.block_depth = k;
  const int64_t strip = StripRows(target);
  if (m >= 1 && m <= strip && 2 * m * n * k <= kTileProducts) {
    // One small tile. A product of a microsecond must not wait for the divisions below.
    const int64_t panel = PanelColumns(target);  // a power of two
    const int64_t columns = (n + panel - 1) & -panel;
    return {strip, columns, 1, 1, k, columns, 2 * strip * k <= half};
  }
  // One strip passes over B once, whatever the depth.
  if (m > StripRows(target)) {
    plan.block_depth = CeilDiv(k, CeilDiv(k, std::max<int64_t>(1, half / kTileRowsMin)));
  }
  int64_t rows_max = std::clamp(half / plan.block_depth, StripRows(target), kTileRows);
  if (half / 2 / plan.block_depth >= kTileRowsMin) {
    rows_max = std::min(rows_max, half / 2 / plan.block_depth);
  }
  CutTiles(m, n, k, rows_max, target, plan);
  plan.fetches_next_rows = 2 * plan.tile_rows * plan.block_depth <= half;
  const int64_t panel = PanelColumns(target);
  plan.block_columns = half / std::min(plan.block_depth, kStripDepth) / panel * panel;
  plan.block_columns = std::clamp(plan.block_columns, panel, RoundUp(n, panel));
  return plan;
}

GemmPlan PlanLargeGemm(int64_t m, int64_t n, int64_t k, Target target, const CacheSizes& caches) {
  if (m < kRowsKeepingB) return PlanGemm(m, n, k, target, caches);
  const int64_t panel = PanelColumns(target);
  const int64_t strip = StripRows(target);
  const int64_t half = caches.l2_bytes / 2 / static_cast<int64_t>(sizeof(float));
  const int64_t panels = CeilDiv(n, panel);
  GemmPlan plan;
  plan.keeps_b = true;
  const int64_t depth_max = std::max<int64_t>(1, half / (std::min(panels, kPanelsKept) * panel));
  plan.block_depth = CeilDiv(k, CeilDiv(k, depth_max));
  const int64_t panels_max = std::max<int64_t>(1, half / (plan.block_depth * panel));
  plan.column_tiles = CeilDiv(panels, panels_max);
  plan.tile_columns = CeilDiv(panels, plan.column_tiles) * panel;
  plan.column_tiles = CeilDiv(n, plan.tile_columns);
  plan.block_columns = plan.tile_columns;
  const int64_t strips = kTileProducts / (plan.tile_columns * k) / strip;
  plan.tile_rows = std::clamp<int64_t>(strips, 1, kTileRows / strip) * strip;
  plan.row_tiles = CeilDiv(m, plan.tile_rows);
  return plan;
}

GemmPlan PlanMatMul(int64_t m, int64_t n, int64_t k, Target target) {
  const int64_t panel = PanelColumns(target);
  GemmPlan plan;
  plan.block_depth = k == 0 ? 0 : CeilDiv(k, CeilDiv(k, kStackDepth));
  plan.block_columns = kStackBlock / std::max<int64_t>(plan.block_depth, panel) / panel * panel;
  plan.block_columns = std::min(plan.block_columns, RoundUp(std::max<int64_t>(n, 1), panel));
  CutTiles(m, std::max<int64_t>(n, 1), std::max<int64_t>(k, 1), kMatMulRows, target, plan);
  return plan;
}

}  // namespace sluice::kernels

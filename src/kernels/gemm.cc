#include "kernels/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/gemm.h"
#include "kernels/plan/gemm_plan.h"
#include "kernels/plan/gemm_regions.h"

namespace sluice::kernels {
namespace {

GemmPlan Plan(const GemmArgs& args) {
  return PlanLargeGemm(args.m, args.b.n, args.b.k, args.b.target, MachineCaches());
}

}  // namespace

int64_t PanelColumns(const PackedMatrix& b) {
  return b.n == 1 ? 1 : PanelColumns(b.target);
}

PackedMatrix PanelOf(const PackedMatrix& b, int64_t index) {
  // What is one column lies otherwise.
  if (b.n == 1) return b;
  PackedMatrix panel = b;
  panel.n = PanelColumns(b);
  panel.data += index * panel.n * b.k;
  return panel;
}

int64_t GemmRowStride(int64_t n) {
  constexpr int64_t kFloatsOfSets = 1024;  // 64 sets of 64 bytes, as all x86 cores have
  return n > 0 && n % kFloatsOfSets == 0 ? n + 16 : n;
}

int64_t GemmTiles(const GemmArgs& args) {
  const GemmPlan plan = Plan(args);
  return plan.row_tiles * plan.column_tiles;
}

void Gemm(const GemmArgs& args, Tiles tiles) {
  CHECK(args.b.data != nullptr && args.b.k >= 1 && args.b.n >= 1);
  CHECK(args.m <= 1 || (args.a_stride >= args.b.k && args.c_stride >= args.b.n));
  const GemmPlan plan = Plan(args);
  const auto run = SLUICE_PICK_ISA(args.b.target, RunGemm);
  const auto run_region = [&](const GemmRegion& region) { run(args, plan, region); };
  if (plan.keeps_b) {
    ForRegions(plan, args.m, args.b.n, tiles, run_region);
  } else {
    ForRegionsByRow(plan, args.m, args.b.n, tiles, run_region);
  }
}

Work GemmWork(const GemmArgs& args) {
  const int64_t c_passes = 1 + (args.residual != nullptr ? 1 : 0) +
                           (args.factor != nullptr ? 1 : 0) + (args.accumulate ? 1 : 0);
  const int64_t floats =
      args.m * args.b.k + args.b.k * args.b.n + c_passes * args.m * args.b.n + args.b.n;
  return {2 * args.m * args.b.n * args.b.k, floats * static_cast<int64_t>(sizeof(float))};
}

int64_t MatMulTiles(const MatMulArgs& args) {
  const GemmPlan plan = PlanMatMul(args.m, args.n, args.k, ActiveTarget());
  return args.outer * args.inner * plan.row_tiles * plan.column_tiles;
}

void MatMul(const MatMulArgs& args, Tiles tiles) {
  CHECK_GE(args.k, 0);
  const Target target = ActiveTarget();
  const GemmPlan plan = PlanMatMul(args.m, args.n, args.k, target);
  const int64_t tiles_each = plan.row_tiles * plan.column_tiles;
  const auto run = SLUICE_PICK_ISA(target, RunMatMul);
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int64_t matrix = tile / tiles_each;
    const int64_t row = (tile % tiles_each) / plan.column_tiles;
    const int64_t column = tile % plan.column_tiles;
    GemmRegion region;
    region.row_begin = row * plan.tile_rows;
    region.row_end = std::min(args.m, region.row_begin + plan.tile_rows);
    region.column_begin = column * plan.tile_columns;
    region.column_end = std::min(args.n, region.column_begin + plan.tile_columns);
    run(args, plan, matrix, region);
  }
}

Work MatMulWork(const MatMulArgs& args) {
  const int64_t matrices = args.outer * args.inner;
  const int64_t floats = args.m * args.k + args.k * args.n + args.m * args.n;
  return {2 * matrices * args.m * args.n * args.k,
          matrices * floats * static_cast<int64_t>(sizeof(float))};
}

}  // namespace sluice::kernels

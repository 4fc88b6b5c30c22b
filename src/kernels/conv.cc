#include "kernels/conv.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv.h"
#include "kernels/plan/gemm_plan.h"
#include "kernels/plan/gemm_regions.h"

namespace sluice::kernels {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Blocks of the weight are as equal as can be, and L2 holds one beside the next.
GemmPlan Plan(const ConvArgs& args) {
  const int64_t n = args.weight.n;
  GemmPlan plan =
      PlanGemm(args.window.pixels(), n, args.weight.k, args.weight.target, MachineCaches());
  const int64_t panel = PanelColumns(args.weight.target);
  const int64_t depth = std::min(plan.block_depth, kStripDepth);
  plan.block_depth = CeilDiv(args.weight.k, CeilDiv(args.weight.k, std::max<int64_t>(1, depth)));
  const int64_t floats = MachineCaches().l2_bytes * 2 / 5 / static_cast<int64_t>(sizeof(float));
  const int64_t columns = std::max(panel, floats / plan.block_depth / panel * panel);
  plan.block_columns = CeilDiv(CeilDiv(n, CeilDiv(n, columns)), panel) * panel;
  return plan;
}

// Output rows of a depthwise tile: 50 us or so.
int64_t RowsPerTile(const DepthwiseArgs& args) {
  constexpr int64_t kTileProducts = int64_t{1} << 19;
  const int64_t row = args.window.out_columns * args.window.taps() * args.channels;
  return std::max<int64_t>(1, kTileProducts / std::max<int64_t>(row, 1));
}

}  // namespace

int64_t ConvTiles(const ConvArgs& args) {
  const GemmPlan plan = Plan(args);
  return plan.row_tiles * plan.column_tiles;
}

void Conv(const ConvArgs& args, Tiles tiles) {
  CHECK_EQ(args.weight.k, args.window.taps() * args.channels);
  CHECK(args.x_pixel >= args.channels && args.y_pixel >= args.weight.n);
  const GemmPlan plan = Plan(args);
  const auto run = SLUICE_PICK_ISA(args.weight.target, RunConv);
  ForRegions(plan, args.window.pixels(), args.weight.n, tiles,
             [&](const GemmRegion& region) { run(args, plan, region); });
}

Work ConvWork(const ConvArgs& args) {
  const ImageWindow& w = args.window;
  const int64_t passes = args.residual != nullptr ? 2 : 1;
  const int64_t floats = w.batch * w.rows * w.columns * args.channels +
                         args.weight.k * args.weight.n + passes * w.pixels() * args.weight.n;
  return {2 * w.pixels() * args.weight.n * args.weight.k, floats * 4};
}

int64_t DepthwiseTiles(const DepthwiseArgs& args) {
  const int64_t rows = args.window.batch * args.window.out_rows;
  const int64_t each = RowsPerTile(args);
  return (rows + each - 1) / each;
}

void Depthwise(const DepthwiseArgs& args, Tiles tiles) {
  CHECK(args.x_pixel >= args.channels && args.y_pixel >= args.channels);
  const int64_t each = RowsPerTile(args);
  const int64_t end = std::min(args.window.batch * args.window.out_rows, tiles.end * each);
  SLUICE_PICK_ISA(ActiveTarget(), RunDepthwise)(args, tiles.begin * each, end);
}

Work DepthwiseWork(const DepthwiseArgs& args) {
  const ImageWindow& w = args.window;
  const int64_t floats = (w.batch * w.rows * w.columns + w.pixels() + w.taps()) * args.channels;
  return {2 * w.pixels() * w.taps() * args.channels, floats * 4};
}

}  // namespace sluice::kernels

#include "kernels/low_gemm.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/low_gemm.h"
#include "kernels/plan/gemm_regions.h"
#include "kernels/plan/low_plan.h"

namespace sluice::kernels {
namespace {

// Rows of C that lie on the stack before they are prepared, and floats of them.
constexpr int64_t kPreparedRows = 64;
constexpr int64_t kPreparedFloats = int64_t{100} << 10;
// Between such rows: not a multiple of a page for the usual widths.
constexpr int64_t kPreparedPadding = 16;

// Up to here a product by vpdpbusd is as fast as one by tiles, which cost some setting up.
constexpr int64_t kTilesRowsMin = 4;

bool RunsOnTiles(const LowGemmArgs& args) {
  if (args.b.path == LowPath::kBF16Tiles) return true;
  return args.b.path == LowPath::kVnni && args.m >= kTilesRowsMin &&
         (LowFeatures() & kHasInt8Tiles) != 0;
}

int64_t StripOf(const LowGemmArgs& args) {
  if (RunsOnTiles(args)) return kTilesRows;
  switch (args.b.path) {
    case LowPath::kWords:
      return kWordsRows;
    case LowPath::kBytes:
      return kBytesRows;
    case LowPath::kWiden:
      return StripRows(args.b.target);
    default:
      return kDotsRows;
  }
}

// The range of a row of int8 is known only when all of it is there.
bool PreparesWholeRows(const LowGemmArgs& args) {
  return args.out.data != nullptr && !TakesBrainRows(args.out_path);
}

GemmPlan Plan(const LowGemmArgs& args) {
  // What a tile may cost at most, in multiply-adds: 50 to 150 us on one core.
  constexpr int64_t kTileProducts = int64_t{6} << 20;
  LowPlanInput input;
  input.m = args.m;
  input.n = args.b.n;
  input.k = args.b.k;
  input.column_bytes = args.b.path == LowPath::kWiden ? 2 * args.b.k : 4 * args.b.groups;
  input.width = LowPanelColumns(args.b.path, args.b.target);
  input.strip = StripOf(args);
  const double speedup = RunsOnTiles(args) ? 12 : LowPathSpeedup(args.b.path);
  input.products_max = static_cast<int64_t>(speedup * static_cast<double>(kTileProducts));
  GemmPlan plan = PlanLow(input, MachineCaches());
  if (!PreparesWholeRows(args)) return plan;
  plan.tile_rows = kPreparedRows;
  plan.row_tiles = (args.m + kPreparedRows - 1) / kPreparedRows;
  plan.tile_columns = (args.b.n + input.width - 1) / input.width * input.width;
  plan.column_tiles = 1;
  plan.block_columns = plan.tile_columns;
  return plan;
}

using RunFunction = void (*)(const LowGemmArgs&, const GemmPlan&, const GemmRegion&);

// Tiles of whole rows: some rows of C on the stack, then prepared.
void RunPrepared(const LowGemmArgs& args, const GemmPlan& plan, Tiles tiles, RunFunction run) {
  alignas(64) float strip[kPreparedFloats];
  const int64_t stride = args.b.n + kPreparedPadding;
  const int64_t rows_max =
      std::min(kPreparedRows, kPreparedFloats / stride / kTilesRows * kTilesRows);
  const int64_t end = std::min(args.m, tiles.end * plan.tile_rows);
  for (int64_t row = tiles.begin * plan.tile_rows; row < end; row += rows_max) {
    LowGemmArgs part = args;
    part.m = std::min(rows_max, end - row);
    part.rows = RowsFrom(args.rows, row);
    if (args.residual != nullptr) part.residual += row * args.residual_stride;
    if (args.factor != nullptr) part.factor += row * args.factor_stride;
    part.coarse_gelu = true;
    part.c = strip;
    part.c_stride = stride;
    part.out = {};
    run(part, plan, {0, part.m, 0, args.b.n});
    PrepareRowsArgs prepare;
    prepare.m = part.m;
    prepare.k = args.b.n;
    prepare.a = strip;
    prepare.a_stride = stride;
    prepare.rows = RowsFrom(args.out, row);
    prepare.path = args.out_path;
    SLUICE_PICK_ISA(args.b.target, RunPrepareRows)(prepare, 0, part.m);
  }
}

constexpr int64_t kPrepareBytes = int64_t{64} << 10;  // of activations that a tile prepares

int64_t PrepareRowsEach(const PrepareRowsArgs& args) {
  return std::max<int64_t>(1, kPrepareBytes / 4 / args.k);
}

}  // namespace

int64_t LowPanelColumns(LowPath path, Target target) {
  if (path == LowPath::kWords || path == LowPath::kBytes) return 16;
  return path == LowPath::kWiden ? PanelColumns(target) : 32;
}

int64_t PanelColumns(const LowMatrix& b) {
  return LowPanelColumns(b.path, b.target);
}

LowMatrix PanelOf(const LowMatrix& b, int64_t index) {
  const bool brain = b.form == WeightForm::kBF16 || b.form == WeightForm::kBF16Storage;
  const int64_t column_bytes = b.path == LowPath::kWiden ? b.k * (brain ? 2 : 1) : 4 * b.groups;
  LowMatrix panel = b;
  panel.n = PanelColumns(b);
  panel.data += index * panel.n * column_bytes;
  if (b.scales != nullptr) panel.scales += index * panel.n;
  if (b.sums != nullptr) panel.sums += index * panel.n;
  return panel;
}

LowRows RowsFrom(const LowRows& rows, int64_t row) {
  LowRows from = rows;
  from.data += row * rows.stride;
  from.scales += row;
  from.zeros += row;
  return from;
}

int64_t LowGroups(int64_t k, LowPath path) {
  if (path == LowPath::kWiden) return 0;
  const int64_t element_bytes = path == LowPath::kVnni || path == LowPath::kBytes ? 1 : 2;
  return (k * element_bytes + 63) / 64 * 16;
}

int64_t LowRowBytes(int64_t k, LowPath path) {
  const int64_t lines = LowGroups(k, path) / 16;
  return (lines + (lines % 2 == 0 ? 1 : 0)) * 64;
}

double LowPathSpeedup(LowPath path) {
  switch (path) {
    case LowPath::kWiden:
      return 1;
    case LowPath::kWords:
      return 1.5;
    case LowPath::kBytes:
    case LowPath::kBF16Dots:
      return 1.9;
    case LowPath::kVnni:
      return (LowFeatures() & kHasInt8Tiles) != 0 ? 12 : 3.5;
    case LowPath::kBF16Tiles:
      return 8;
  }
  return 1;
}

int64_t PrepareRowsTiles(const PrepareRowsArgs& args) {
  const int64_t each = PrepareRowsEach(args);
  return (args.m + each - 1) / each;
}

void PrepareRows(const PrepareRowsArgs& args, Tiles tiles) {
  CHECK(args.path != LowPath::kWiden && args.k >= 1);
  const int64_t each = PrepareRowsEach(args);
  const int64_t begin = tiles.begin * each;
  const int64_t end = std::min(args.m, tiles.end * each);
  if (begin < end) SLUICE_PICK_ISA(args.target, RunPrepareRows)(args, begin, end);
}

Work PrepareRowsWork(const PrepareRowsArgs& args) {
  return {4 * args.m * args.k, args.m * (4 * args.k + LowRowBytes(args.k, args.path))};
}

bool LowGemmPrepares(const LowMatrix& b, LowPath out_path) {
  if (b.path == LowPath::kWiden || out_path == LowPath::kWiden) return false;
  if (TakesBrainRows(out_path)) return true;
  return (b.n + kPreparedPadding) * kTilesRows <= kPreparedFloats &&
         b.groups * 4 * b.n <= MachineCaches().l2_bytes / 2;
}

int64_t LowGemmTiles(const LowGemmArgs& args) {
  const GemmPlan plan = Plan(args);
  return plan.row_tiles * plan.column_tiles;
}

void LowGemm(const LowGemmArgs& args, Tiles tiles) {
  CHECK(args.b.data != nullptr && args.b.k >= 1 && args.b.n >= 1);
  const GemmPlan plan = Plan(args);
  if (args.b.path == LowPath::kWiden) {
    const auto run = SLUICE_PICK_ISA(args.b.target, RunLowWiden);
    return ForRegions(plan, args.m, args.b.n, tiles,
                      [&](const GemmRegion& region) { run(args, region); });
  }
  RunFunction run = nullptr;
  if (RunsOnTiles(args)) {
    run = amx::RunLowTiles;
  } else if (args.b.path == LowPath::kVnni) {
    run = vnni::RunLowVnni;
  } else if (args.b.path == LowPath::kBF16Dots) {
    run = bf16::RunLowDots;
  } else {
    run = args.b.path == LowPath::kBytes ? avx2::RunLowBytes : avx2::RunLowWords;
  }
  if (PreparesWholeRows(args)) return RunPrepared(args, plan, tiles, run);
  ForRegions(plan, args.m, args.b.n, tiles,
             [&](const GemmRegion& region) { run(args, plan, region); });
}

Work LowGemmWork(const LowGemmArgs& args) {
  const int64_t beside = (args.residual != nullptr ? 1 : 0) + (args.factor != nullptr ? 1 : 0);
  const int64_t c_bytes =
      args.out.data != nullptr ? LowRowBytes(args.b.n, args.out_path) : 4 * args.b.n;
  const bool wide = args.b.path == LowPath::kWiden;
  const int64_t element =
      args.b.form == WeightForm::kInt8 || args.b.form == WeightForm::kInt8Storage
          ? (args.b.path == LowPath::kWords ? 2 : 1)
          : 2;
  const int64_t a_bytes = wide ? 4 * args.b.k : LowRowBytes(args.b.k, args.b.path);
  return {2 * args.m * args.b.n * args.b.k, args.m * a_bytes + element * args.b.k * args.b.n +
                                                4 * beside * args.m * args.b.n + args.m * c_bytes};
}

}  // namespace sluice::kernels

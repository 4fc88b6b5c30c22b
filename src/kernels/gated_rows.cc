#include "kernels/gated_rows.h"

#include <algorithm>

#include "kernels/cpu/gated_rows.h"

namespace sluice::kernels {
namespace {

// Columns of a tile: whole cache lines, some microseconds of work. A row alone is cut too.
constexpr int64_t kTileColumns = 2048;

int64_t ColumnTiles(const GatedRowsArgs& args) {
  return (args.columns + kTileColumns - 1) / kTileColumns;
}

}  // namespace

int64_t GatedRowsTiles(const GatedRowsArgs& args) {
  return args.rows * ColumnTiles(args);
}

void GatedRows(const GatedRowsArgs& args, Tiles tiles) {
  const auto run = SLUICE_PICK_ISA(ActiveTarget(), RunGatedRow);
  const int64_t per_row = ColumnTiles(args);
  for (int64_t t = tiles.begin; t < tiles.end; ++t) {
    const int64_t begin = t % per_row * kTileColumns;
    run(args, t / per_row, begin, std::min(args.columns, begin + kTileColumns));
  }
}

Work GatedRowsWork(const GatedRowsArgs& args) {
  constexpr int64_t kFlops = 20;  // of an exponential and a division
  return {args.rows * args.columns * kFlops, args.rows * args.columns * 12};
}

}  // namespace sluice::kernels

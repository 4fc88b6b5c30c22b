#include "kernels/pool.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/pool.h"

namespace sluice::kernels {
namespace {

// Output rows of a tile: 50 us or so.
int64_t RowsPerTile(const PoolArgs& args) {
  constexpr int64_t kTileElements = int64_t{1} << 18;
  const int64_t row = args.window.out_columns * args.window.taps() * args.channels;
  return std::max<int64_t>(1, kTileElements / std::max<int64_t>(row, 1));
}

}  // namespace

int64_t PoolTiles(const PoolArgs& args) {
  const int64_t rows = args.window.batch * args.window.out_rows;
  const int64_t each = RowsPerTile(args);
  return (rows + each - 1) / each;
}

void Pool(const PoolArgs& args, Tiles tiles) {
  CHECK(args.x_pixel >= args.channels && args.y_pixel >= args.channels);
  const int64_t each = RowsPerTile(args);
  const int64_t end = std::min(args.window.batch * args.window.out_rows, tiles.end * each);
  SLUICE_PICK_ISA(ActiveTarget(), RunPool)(args, tiles.begin * each, end);
}

Work PoolWork(const PoolArgs& args) {
  const ImageWindow& w = args.window;
  const int64_t floats = (w.batch * w.rows * w.columns + w.pixels()) * args.channels;
  return {w.pixels() * w.taps() * args.channels, floats * 4};
}

}  // namespace sluice::kernels

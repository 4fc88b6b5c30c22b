#include "kernels/rotary.h"

#include <algorithm>

#include "kernels/cpu/rotary.h"

namespace sluice::kernels {
namespace {

constexpr int64_t kTileElements = 16 << 10;

int64_t Rows(const RotaryArgs& args) {
  return args.extents[0] * args.extents[1] * args.extents[2];
}

int64_t PerTile(const RotaryArgs& args) {
  return std::max<int64_t>(1, kTileElements / std::max<int64_t>(1, args.width));
}

}  // namespace

int64_t RotaryTiles(const RotaryArgs& args) {
  return (Rows(args) + PerTile(args) - 1) / PerTile(args);
}

void Rotary(const RotaryArgs& args, Tiles tiles) {
  const int64_t step = PerTile(args);
  const int64_t end = std::min(Rows(args), tiles.end * step);
  if (tiles.begin * step >= end) return;
  SLUICE_PICK_ISA(ActiveTarget(), RunRotary)(args, tiles.begin * step, end);
}

Work RotaryWork(const RotaryArgs& args) {
  return {Rows(args) * args.turned * 3, Rows(args) * args.width * 8};
}

}  // namespace sluice::kernels

#include "kernels/interaction.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/interaction.h"

namespace sluice::kernels {
namespace {

constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
constexpr int64_t kTileProducts = int64_t{1} << 20;

// Batch rows of a tile, from the multiply-adds of one.
int64_t RowsPerTile(int64_t products) {
  return std::max<int64_t>(1, kTileProducts / std::max<int64_t>(1, products));
}
int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
int64_t RowsPerTile(const PairDotsArgs& args) {
  return RowsPerTile(args.features * args.features * args.columns);
}
int64_t RowsPerTile(const SecondOrderArgs& args) {
  return RowsPerTile(args.features * args.columns);
}

int64_t RowsPerTile(const VectorCrossArgs& args) {
  return RowsPerTile(2 * args.columns);
}

}  // namespace

int64_t PairDotsTiles(const PairDotsArgs& args) {
  CHECK(args.features <= kInteractionFeatures);
  return CeilDiv(args.batch, RowsPerTile(args));
}

void PairDots(const PairDotsArgs& args, Tiles tiles) {
  const int64_t step = RowsPerTile(args);
  const int64_t end = std::min(args.batch, tiles.end * step);
  SLUICE_PICK_ISA(ActiveTarget(), RunPairDots)(args, tiles.begin * step, end);
}

Work PairDotsWork(const PairDotsArgs& args) {
  return {2 * args.batch * args.pairs * args.columns,
          args.batch * kFloat * (args.features * args.columns + args.pairs)};
}

int64_t SecondOrderTiles(const SecondOrderArgs& args) {
  return CeilDiv(args.batch, RowsPerTile(args));
}

void SecondOrder(const SecondOrderArgs& args, Tiles tiles) {
  const int64_t step = RowsPerTile(args);
  const int64_t end = std::min(args.batch, tiles.end * step);
  SLUICE_PICK_ISA(ActiveTarget(), RunSecondOrder)(args, tiles.begin * step, end);
}

Work SecondOrderWork(const SecondOrderArgs& args) {
  return {3 * args.batch * args.features * args.columns,
          args.batch * kFloat * (args.features * args.columns + (args.reduces ? 1 : args.columns))};
}

int64_t VectorCrossTiles(const VectorCrossArgs& args) {
  return CeilDiv(args.rows, RowsPerTile(args));
}

void VectorCross(const VectorCrossArgs& args, Tiles tiles) {
  const int64_t step = RowsPerTile(args);
  const int64_t end = std::min(args.rows, tiles.end * step);
  SLUICE_PICK_ISA(ActiveTarget(), RunVectorCross)(args, tiles.begin * step, end);
}

Work VectorCrossWork(const VectorCrossArgs& args) {
  return {5 * args.rows * args.columns, kFloat * args.columns * (3 * args.rows + 2)};
}

}  // namespace sluice::kernels

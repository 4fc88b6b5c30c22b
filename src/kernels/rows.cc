// Tiles and costs of the row kernels: norms, softmax, reductions.
#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/rows.h"

namespace sluice::kernels {
namespace {

// Elements of a tile: some microseconds of work.
constexpr int64_t kTileElements = 16384;
// Columns of a tile that walks down an axis: half of a small page a row.
constexpr int64_t kTileColumns = 512;

int64_t RowsPerTile(int64_t columns) {
  return std::max<int64_t>(1, kTileElements / std::max<int64_t>(1, columns));
}

int64_t DivideUp(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// f(begin, end) of the rows that the tiles cover.
template <class F>
void WithRows(Tiles tiles, int64_t rows, int64_t columns, F&& f) {
  const int64_t step = RowsPerTile(columns);
  const int64_t begin = tiles.begin * step;
  const int64_t end = std::min(rows, tiles.end * step);
  if (begin < end) f(begin, end);
}

constexpr auto kFloat = static_cast<int64_t>(sizeof(float));

}  // namespace

int64_t RowNormTiles(const RowNormArgs& args) {
  return DivideUp(args.rows, RowsPerTile(args.columns));
}

void RowNorm(const RowNormArgs& args, Tiles tiles) {
  CHECK_GE(args.columns, 1);
  WithRows(tiles, args.rows, args.columns, [&](int64_t begin, int64_t end) {
    SLUICE_PICK_ISA(ActiveTarget(), RunRowNorm)(args, begin, end);
  });
}

Work RowNormWork(const RowNormArgs& args) {
  const int64_t n = args.rows * args.columns;
  const int64_t passes = 2 + (args.residual != nullptr ? 1 : 0) + (args.sum != nullptr ? 1 : 0);
  const int64_t affine = (args.scale != nullptr ? 1 : 0) + (args.bias != nullptr ? 1 : 0);
  return {n * 8, (n * passes + args.columns * affine) * kFloat};
}

int64_t RowL2NormTiles(const RowL2NormArgs& args) {
  return DivideUp(args.rows, RowsPerTile(args.columns));
}

void RowL2Norm(const RowL2NormArgs& args, Tiles tiles) {
  CHECK_GE(args.columns, 1);
  WithRows(tiles, args.rows, args.columns, [&](int64_t begin, int64_t end) {
    SLUICE_PICK_ISA(ActiveTarget(), RunRowL2Norm)(args, begin, end);
  });
}

Work RowL2NormWork(const RowL2NormArgs& args) {
  const int64_t n = args.rows * args.columns;
  return {n * 3, n * 2 * kFloat};
}

int64_t RowSoftmaxTiles(const RowSoftmaxArgs& args) {
  return DivideUp(args.outer * args.middle * args.inner, RowsPerTile(args.columns));
}

void RowSoftmax(const RowSoftmaxArgs& args, Tiles tiles) {
  CHECK_GE(args.columns, 1);
  WithRows(tiles, args.outer * args.middle * args.inner, args.columns,
           [&](int64_t begin, int64_t end) {
             SLUICE_PICK_ISA(ActiveTarget(), RunRowSoftmax)(args, begin, end);
           });
}

Work RowSoftmaxWork(const RowSoftmaxArgs& args) {
  const int64_t n = args.outer * args.middle * args.inner * args.columns;
  int64_t mask = 0;
  if (args.mask != nullptr) {
    mask = args.columns * (args.mask_outer != 0 ? args.outer : 1) *
           (args.mask_middle != 0 ? args.middle : 1) * (args.mask_inner != 0 ? args.inner : 1);
  }
  return {n * 20, (2 * n + mask) * kFloat};
}

int64_t RowReduceTiles(const RowReduceArgs& args) {
  if (args.inner == 1) return DivideUp(args.outer, RowsPerTile(args.extent));
  return args.outer * DivideUp(args.inner, kTileColumns);
}

void RowReduce(const RowReduceArgs& args, Tiles tiles) {
  if (args.inner == 1) {
    return WithRows(tiles, args.outer, args.extent, [&](int64_t begin, int64_t end) {
      SLUICE_PICK_ISA(ActiveTarget(), RunReduceLast)(args, begin, end);
    });
  }
  const auto run = SLUICE_PICK_ISA(ActiveTarget(), RunReduceMiddle);
  const int64_t blocks = DivideUp(args.inner, kTileColumns);
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int64_t begin = tile % blocks * kTileColumns;
    run(args, tile / blocks, begin, std::min(args.inner, begin + kTileColumns));
  }
}

Work RowReduceWork(const RowReduceArgs& args) {
  const int64_t n = args.outer * args.extent * args.inner;
  return {n, (n + args.outer * args.inner) * kFloat};
}

int64_t MaskedMeanTiles(const MaskedMeanArgs& args) {
  return args.batch * DivideUp(args.columns, kTileColumns);
}

void MaskedMean(const MaskedMeanArgs& args, Tiles tiles) {
  const auto run = SLUICE_PICK_ISA(ActiveTarget(), RunMaskedMean);
  const int64_t blocks = DivideUp(args.columns, kTileColumns);
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int64_t begin = tile % blocks * kTileColumns;
    run(args, tile / blocks, begin, std::min(args.columns, begin + kTileColumns));
  }
}

Work MaskedMeanWork(const MaskedMeanArgs& args) {
  const int64_t n = args.batch * args.length * args.columns;
  return {2 * n, (n + args.batch * (args.length + args.columns)) * kFloat};
}

}  // namespace sluice::kernels

#include "kernels/row_mlp.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/row_mlp.h"

namespace sluice::kernels {
namespace {

constexpr int64_t kTileProducts = int64_t{4} << 20;

// Multiply-adds of one group.
int64_t Products(const RowMlpArgs& args) {
  int64_t products = args.gate == nullptr && args.gate_weight.data == nullptr
                         ? 0
                         : args.gate_weight.k * args.gate_weight.n;
  for (int32_t i = 0; i < args.layer_count; ++i)
    products += args.rows * args.layers[i].b.k * args.layers[i].b.n;
  return products;
}

int64_t GroupsPerTile(const RowMlpArgs& args) {
  return std::max<int64_t>(1, kTileProducts / std::max<int64_t>(1, Products(args)));
}

}  // namespace

int64_t RowMlpTiles(const RowMlpArgs& args) {
  CHECK(args.layer_count >= 1 && args.layer_count <= kRowMlpLayers);
  CHECK(args.columns * (args.crosses ? 2 : 1) == args.layers[0].b.k);
  for (int32_t i = 0; i < args.layer_count; ++i)
    CHECK(args.layers[i].b.k <= kRowMlpWidth && args.layers[i].b.n <= kRowMlpWidth);
  const int64_t step = GroupsPerTile(args);
  return (args.groups + step - 1) / step;
}

void RowMlp(const RowMlpArgs& args, Tiles tiles) {
  const int64_t step = GroupsPerTile(args);
  const int64_t end = std::min(args.groups, tiles.end * step);
  SLUICE_PICK_ISA(args.layers[0].b.target, RunRowMlp)(args, tiles.begin * step, end);
}

Work RowMlpWork(const RowMlpArgs& args) {
  const RowMlpLayer& last = args.layers[args.layer_count - 1];
  int64_t floats =
      args.groups * args.rows * (args.columns + last.b.n) + args.gate_weight.k * args.gate_weight.n;
  for (int32_t i = 0; i < args.layer_count; ++i) floats += args.layers[i].b.k * args.layers[i].b.n;
  return {2 * args.groups * Products(args), floats * static_cast<int64_t>(sizeof(float))};
}

}  // namespace sluice::kernels

// Rotary embeddings over strided operands.
#include <cstddef>

#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/rotary.h"

namespace sluice::graph {
namespace {

using kernels::kRotaryAxes;
using kernels::RotaryArgs;
using kernels::RotaryRows;
using tensor::Shape;

void RunRotary(const void* args, kernels::Tiles tiles) {
  kernels::Rotary(*static_cast<const RotaryArgs*>(args), tiles);
}

// Where the rows of a value of rank 1 to 4 are, the missing axes in front; copied where a row's
// elements do not lie together.
Ref RowsOf(Lowering& lowering, const Value* value, RotaryRows& rows) {
  const Shape& shape = lowering.shape(value);
  Place place = lowering.place(value);
  const int last = shape.rank() - 1;
  if (shape[last] != 1 && place.strides[last] != 1) {
    place.ref = lowering.Packed(value);
    SetPackedStrides(shape, place);
  }
  for (int axis = 0; axis < last; ++axis) {
    if (shape[axis] != 1) rows.strides[kRotaryAxes - last + axis] = place.strides[axis];
  }
  return place.ref;
}

base::Result<bool> LowerRotary(Lowering& lowering, const Node& node) {
  const Shape& shape = lowering.shape(node.input(0));
  const Shape& table = lowering.shape(node.input(1));
  const int last = shape.rank() - 1;
  RotaryArgs args;
  args.width = shape[last];
  args.turned = node.Int("turned", args.width);
  args.interleaved = node.Int("interleaved", 0) != 0;
  const int64_t columns = table[table.rank() - 1];
  args.by_pair = columns * 2 == args.turned;
  bool fits = shape.rank() <= kRotaryAxes + 1 && table == lowering.shape(node.input(2)) &&
              table.rank() <= shape.rank() && args.turned % 2 == 0 && args.turned <= args.width &&
              (args.by_pair || columns == args.turned);
  for (int axis = 0; fits && axis + 1 < table.rank(); ++axis) {
    const int64_t extent = table[axis];
    fits = extent == 1 || extent == shape[shape.rank() - table.rank() + axis];
  }
  if (!fits) {
    return base::InvalidArgument("node '" + node.name + "': the caches " + table.ToString() +
                                 " and " + lowering.shape(node.input(2)).ToString() +
                                 " do not fit X " + shape.ToString());
  }
  const Ref x = RowsOf(lowering, node.input(0), args.x);
  const Ref cos = RowsOf(lowering, node.input(1), args.cos);
  const Ref sin = RowsOf(lowering, node.input(2), args.sin);
  const Ref y = lowering.Define(node.output());
  Place packed;
  SetPackedStrides(shape, packed);
  for (int axis = 0; axis < last; ++axis) {
    args.extents[kRotaryAxes - last + axis] = shape[axis];
    args.y_strides[kRotaryAxes - last + axis] = packed.strides[axis];
  }
  StepInfo info = lowering.Info(node, "rotary");
  info.detail = shape.ToString() + (args.interleaved ? ", neighbours" : ", halves");
  StepSpec spec{.run = RunRotary,
                .tiles = kernels::RotaryTiles(args),
                .work = kernels::RotaryWork(args),
                .info = std::move(info)};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(RotaryArgs, x.data), x},
                          {offsetof(RotaryArgs, cos.data), cos},
                          {offsetof(RotaryArgs, sin.data), sin},
                          {offsetof(RotaryArgs, y), y}});
  return true;
}

}  // namespace

std::span<const LoweringRule> RotaryRules() {
  static constexpr LoweringRule kRules[] = {{"FusedRotary", ~0u, LowerRotary}};
  return kRules;
}

}  // namespace sluice::graph

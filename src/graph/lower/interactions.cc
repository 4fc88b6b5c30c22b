// Pair dot products, second-order terms and cross layers of features.
#include <algorithm>
#include <cstddef>
#include <memory>

#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/interaction.h"

namespace sluice::graph {
namespace {

using kernels::PairDotsArgs;
using kernels::PairRun;
using kernels::SecondOrderArgs;
using kernels::VectorCrossArgs;
using tensor::Shape;

void RunPairDots(const void* args, kernels::Tiles tiles) {
  kernels::PairDots(*static_cast<const PairDotsArgs*>(args), tiles);
}
void RunSecondOrder(const void* args, kernels::Tiles tiles) {
  kernels::SecondOrder(*static_cast<const SecondOrderArgs*>(args), tiles);
}
void RunVectorCross(const void* args, kernels::Tiles tiles) {
  kernels::VectorCross(*static_cast<const VectorCrossArgs*>(args), tiles);
}

// Where the node's rows of `columns` go: into the concatenation that reads them, or memory of its
// own.
Place Result(Lowering& lowering, const Node& node, int64_t columns) {
  if (const Place* target = lowering.Target(node.output())) {
    lowering.AliasRows(node.output(), *target, columns);
    return *target;
  }
  Place place;
  place.ref = lowering.Define(node.output());
  place.strides[0] = columns;
  place.strides[1] = 1;
  return place;
}

// Pairs whose second features follow each other become one run. A dot product is the same bits
// either way round.
std::vector<PairRun> RunsOf(const Node& node) {
  const std::span<const int64_t> first = node.Ints("first");
  const std::span<const int64_t> second = node.Ints("second");
  std::vector<PairRun> runs;
  for (size_t i = 0; i < first.size(); ++i) {
    const auto row = static_cast<int32_t>(first[i]);
    const auto column = static_cast<int32_t>(second[i]);
    if (!runs.empty() && runs.back().row == row &&
        runs.back().first + runs.back().count == column) {
      ++runs.back().count;
    } else {
      runs.push_back({row, column, 1, static_cast<int32_t>(i)});
    }
  }
  return runs;
}

base::Result<bool> LowerPairDots(Lowering& lowering, const Node& node) {
  const Shape& shape = lowering.shape(node.input(0));
  PairDotsArgs args;
  args.batch = shape[0];
  args.features = shape[1];
  args.columns = shape[2];
  args.pairs = lowering.shape(node.output())[1];
  auto runs = std::make_shared<std::vector<PairRun>>(RunsOf(node));
  args.runs = runs->data();
  args.run_count = static_cast<int64_t>(runs->size());
  const Place x = WholeRows(lowering, node.input(0));
  args.x_batch = x.strides[0];
  args.x_row = x.strides[1];
  const Place y = Result(lowering, node, args.pairs);
  args.y_stride = y.strides[0];
  lowering.Keep(std::move(runs));
  StepInfo info = lowering.Info(node, "pair dots");
  info.detail = std::to_string(args.batch) + " of " + std::to_string(args.features) + "x" +
                std::to_string(args.columns) + ", " + std::to_string(args.pairs) + " pairs";
  StepSpec spec{.run = RunPairDots,
                .tiles = kernels::PairDotsTiles(args),
                .work = kernels::PairDotsWork(args),
                .info = std::move(info)};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(PairDotsArgs, x), x.ref}, {offsetof(PairDotsArgs, y), y.ref}});
  return true;
}

base::Result<bool> LowerSecondOrder(Lowering& lowering, const Node& node) {
  const Shape& shape = lowering.shape(node.input(0));
  SecondOrderArgs args;
  args.batch = shape[0];
  args.features = shape[1];
  args.columns = shape[2];
  args.scale = node.Float("scale", 0.5F);
  args.reduces = node.Int("reduces", 1) != 0;
  const Place x = WholeRows(lowering, node.input(0));
  args.x_batch = x.strides[0];
  args.x_row = x.strides[1];
  const Place y = Result(lowering, node, lowering.shape(node.output())[1]);
  args.y_stride = y.strides[0];
  StepInfo info = lowering.Info(node, "second order");
  info.detail = std::to_string(args.batch) + " of " + std::to_string(args.features) + "x" +
                std::to_string(args.columns);
  StepSpec spec{.run = RunSecondOrder,
                .tiles = kernels::SecondOrderTiles(args),
                .work = kernels::SecondOrderWork(args),
                .info = std::move(info)};
  lowering.builder().Add(
      std::move(spec), args,
      {{offsetof(SecondOrderArgs, x), x.ref}, {offsetof(SecondOrderArgs, y), y.ref}});
  return true;
}

// The value as [rows, columns] with unit stride in a row.
Place AsRows(Lowering& lowering, const Value* value, const Shape& shape) {
  Place place = lowering.ReshapedPlace(value, shape);
  if (shape[1] == 1 || place.strides[1] == 1) return place;
  place.ref = lowering.Packed(value);
  SetPackedStrides(shape, place);
  return place;
}

base::Result<bool> LowerVectorCross(Lowering& lowering, const Node& node) {
  const Shape& shape = lowering.shape(node.output());
  if (!(lowering.shape(node.input(0)) == shape)) {
    return base::InvalidArgument("node '" + node.name + "': cannot cross " +
                                 lowering.shape(node.input(0)).ToString() + " with " +
                                 shape.ToString());
  }
  VectorCrossArgs args;
  args.columns = shape[shape.rank() - 1];
  args.rows = shape.elements(0, shape.rank() - 1);
  const Shape rows({args.rows, args.columns});
  const Place x0 = AsRows(lowering, node.input(0), rows);
  const Place x = AsRows(lowering, node.input(1), rows);
  args.x0_row = x0.strides[0];
  args.x_row = x.strides[0];
  Ref bias;
  if (node.input(3) != nullptr) bias = lowering.Packed(node.input(3));
  const Place y = Result(lowering, node, args.columns);
  args.y_row = y.strides[0];
  StepInfo info = lowering.Info(node, "vector cross");
  info.detail = std::to_string(args.rows) + "x" + std::to_string(args.columns);
  StepSpec spec{.run = RunVectorCross,
                .tiles = kernels::VectorCrossTiles(args),
                .work = kernels::VectorCrossWork(args),
                .info = std::move(info)};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(VectorCrossArgs, x0), x0.ref},
                          {offsetof(VectorCrossArgs, x), x.ref},
                          {offsetof(VectorCrossArgs, weight), lowering.Packed(node.input(2))},
                          {offsetof(VectorCrossArgs, bias), bias},
                          {offsetof(VectorCrossArgs, y), y.ref}});
  return true;
}

}  // namespace

std::span<const LoweringRule> InteractionRules() {
  static constexpr LoweringRule kRules[] = {{"FusedVectorCross", ~0u, LowerVectorCross},
                                            {"FusedPairDots", ~0u, LowerPairDots},
                                            {"FusedSecondOrder", ~0u, LowerSecondOrder}};
  return kRules;
}

}  // namespace sluice::graph

// Pooling, lengths and running sums over packed rows.
#include <cstddef>

#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/segments.h"

namespace sluice::graph {
namespace {

using kernels::SegmentLengthsArgs;
using kernels::SegmentMode;
using kernels::SegmentReduceArgs;
using kernels::SegmentSumsArgs;

void RunReduce(const void* args, kernels::Tiles tiles) {
  kernels::SegmentReduce(*static_cast<const SegmentReduceArgs*>(args), tiles);
}
void RunLengths(const void* args, kernels::Tiles) {
  kernels::SegmentLengths(*static_cast<const SegmentLengthsArgs*>(args));
}
void RunSums(const void* args, kernels::Tiles) {
  kernels::SegmentSums(*static_cast<const SegmentSumsArgs*>(args));
}

base::Result<bool> LowerSegmentReduce(Lowering& lowering, const Node& node) {
  const tensor::Shape& shape = lowering.shape(node.input(0));
  SegmentReduceArgs args;
  const std::string_view mode = node.String("mode", "");
  args.mode = mode == "sum"   ? SegmentMode::kSum
              : mode == "max" ? SegmentMode::kMax
                              : SegmentMode::kFirst;
  args.segments = lowering.shape(node.input(1))[0] - 1;
  args.rows = shape[1];
  args.columns = shape.elements(2, shape.rank());
  const Ref x = lowering.Packed(node.input(0));
  const Ref starts = lowering.Packed(node.input(1));
  const Ref y = lowering.Define(node.output());
  StepInfo info = lowering.Info(node, "pool");
  info.detail = std::to_string(args.segments) + " sequences of " + std::to_string(args.rows) +
                " rows of " + std::to_string(args.columns) + ", " + std::string(mode);
  StepSpec spec{.run = RunReduce,
                .tiles = kernels::SegmentReduceTiles(args),
                .work = kernels::SegmentReduceWork(args),
                .info = std::move(info)};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(SegmentReduceArgs, x), x},
                          {offsetof(SegmentReduceArgs, starts), starts},
                          {offsetof(SegmentReduceArgs, y), y}});
  return true;
}

base::Result<bool> LowerSegmentLengths(Lowering& lowering, const Node& node) {
  SegmentLengthsArgs args;
  args.segments = lowering.shape(node.input(0))[0] - 1;
  args.integer = node.output()->dtype == tensor::DType::kI64;
  const Ref starts = lowering.Packed(node.input(0));
  const Ref y = lowering.Define(node.output());
  StepSpec spec{.run = RunLengths,
                .tiles = 1,
                .work = {args.segments, args.segments * 8},
                .info = lowering.Info(node, "lengths")};
  lowering.builder().Add(
      std::move(spec), args,
      {{offsetof(SegmentLengthsArgs, starts), starts}, {offsetof(SegmentLengthsArgs, y), y}});
  return true;
}

base::Result<bool> LowerSegmentCumSum(Lowering& lowering, const Node& node) {
  SegmentSumsArgs args;
  args.segments = lowering.shape(node.input(1))[0] - 1;
  args.wide = node.output()->dtype == tensor::DType::kI64;
  const int64_t rows = lowering.shape(node.input(0)).elements();
  args.rows = rows;
  const Ref x = lowering.Packed(node.input(0));
  const Ref starts = lowering.Packed(node.input(1));
  const Ref y = lowering.Define(node.output());
  StepSpec spec{.run = RunSums,
                .tiles = 1,
                .work = {rows, rows * 16},
                .info = lowering.Info(node, "running sum")};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(SegmentSumsArgs, x), x},
                          {offsetof(SegmentSumsArgs, starts), starts},
                          {offsetof(SegmentSumsArgs, y), y}});
  return true;
}

}  // namespace

std::span<const LoweringRule> SegmentRules() {
  static constexpr LoweringRule kRules[] = {{"SegmentReduce", ~0u, LowerSegmentReduce},
                                            {"SegmentLengths", ~0u, LowerSegmentLengths},
                                            {"SegmentCumSum", ~0u, LowerSegmentCumSum}};
  return kRules;
}

}  // namespace sluice::graph

// Norms, softmax and reductions over rows.
#include <cstddef>
#include <optional>

#include "graph/lower/low_linear.h"
#include "graph/lower/lowering_rules.h"
#include "graph/lower/strided_copy.h"
#include "graph/op.h"
#include "kernels/chain.h"
#include "kernels/row_norm.h"
#include "kernels/row_reduce.h"
#include "kernels/row_softmax.h"

namespace sluice::graph {
namespace {

using kernels::RowNormArgs;
using kernels::RowReduceArgs;
using kernels::RowReduceOp;
using kernels::RowSoftmaxArgs;
using tensor::DType;
using tensor::Shape;

void RunNorm(const void* args, kernels::Tiles tiles) {
  kernels::RowNorm(*static_cast<const RowNormArgs*>(args), tiles);
}
void RunSoftmax(const void* args, kernels::Tiles tiles) {
  kernels::RowSoftmax(*static_cast<const RowSoftmaxArgs*>(args), tiles);
}
void RunReduce(const void* args, kernels::Tiles tiles) {
  kernels::RowReduce(*static_cast<const RowReduceArgs*>(args), tiles);
}

// Whether a scale or bias is a row of `columns` f32 elements (or absent).
bool IsRow(Lowering& lowering, const Value* value, int64_t columns) {
  if (value == nullptr) return true;
  const Shape& shape = lowering.shape(value);
  return value->dtype == DType::kF32 && shape.elements() == columns && shape.rank() >= 1 &&
         shape[shape.rank() - 1] == columns;
}

struct NormOperands {
  const Value* x = nullptr;
  const Value* residual = nullptr;
  const Value* scale = nullptr;
  const Value* bias = nullptr;
  bool rms = false;
};

base::Result<bool> LowerNorm(Lowering& lowering, const Node& node, const NormOperands& operands) {
  const Shape& shape = lowering.shape(operands.x);
  int64_t axis = node.Int("axis", -1);
  if (axis < 0) axis += shape.rank();
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i] != nullptr && lowering.reader_count(node.outputs[i]) > 0) return false;
  }
  if (operands.x->dtype != DType::kF32 || axis < 0 || axis >= shape.rank()) return false;
  RowNormArgs args;
  args.columns = shape.elements(static_cast<int>(axis), shape.rank());
  args.rows = shape.elements(0, static_cast<int>(axis));
  if (args.columns < 1 || args.rows < 1) return false;
  if (axis != shape.rank() - 1 && (lowering.shape(operands.scale).elements() != args.columns))
    return false;
  if (axis == shape.rank() - 1 && (!IsRow(lowering, operands.scale, args.columns) ||
                                   !IsRow(lowering, operands.bias, args.columns))) {
    return false;
  }
  if (operands.bias != nullptr && lowering.shape(operands.bias).elements() != args.columns)
    return false;
  if (operands.residual != nullptr && !(lowering.shape(operands.residual) == shape)) {
    return base::InvalidArgument("node '" + node.name + "': cannot add " +
                                 lowering.shape(operands.residual).ToString() + " to " +
                                 shape.ToString());
  }
  args.epsilon = node.Float("epsilon", 1e-5F);
  args.rms = operands.rms;
  args.x_stride = args.residual_stride = args.y_stride = args.columns;
  const Ref x = lowering.Packed(operands.x);
  const Ref residual = operands.residual == nullptr ? Ref() : lowering.Packed(operands.residual);
  const Ref scale = operands.scale == nullptr ? Ref() : lowering.Packed(operands.scale);
  const Ref bias = operands.bias == nullptr ? Ref() : lowering.Packed(operands.bias);
  const Ref y = lowering.Define(node.output());
  StepInfo info = lowering.Info(node, operands.rms ? "rms_norm" : "layer_norm");
  if (operands.residual != nullptr) info.detail += " +residual";
  // Layers in 16 and 8 bits find their rows prepared.
  PreparedParts rows;
  const std::optional<kernels::LowPath> path = PreparedFor(lowering, node.output());
  if (path.has_value() && axis == shape.rank() - 1) {
    rows = NewPreparedRows(lowering, node.output(), *path);
    args.prepared.stride = rows.stride;
    args.prepared_path = *path;
    info.detail += ", result prepared";
  }
  StepSpec spec{.run = RunNorm,
                .tiles = kernels::RowNormTiles(args),
                .work = kernels::RowNormWork(args),
                .info = std::move(info)};
  lowering.builder().Add(
      std::move(spec), args,
      {{offsetof(RowNormArgs, x), x},
       {offsetof(RowNormArgs, residual), residual},
       {offsetof(RowNormArgs, scale), scale},
       {offsetof(RowNormArgs, bias), bias},
       {offsetof(RowNormArgs, y), y},
       {offsetof(RowNormArgs, prepared) + offsetof(kernels::LowRows, data), rows.data},
       {offsetof(RowNormArgs, prepared) + offsetof(kernels::LowRows, scales), rows.scales},
       {offsetof(RowNormArgs, prepared) + offsetof(kernels::LowRows, zeros), rows.zeros}});
  if (x.offset == 0) lowering.builder().AllowInPlace({y.buffer, x.buffer});
  if (residual.buffer >= 0 && residual.offset == 0)
    lowering.builder().AllowInPlace({y.buffer, residual.buffer});
  return true;
}

base::Result<bool> LowerLayerNorm(Lowering& lowering, const Node& node) {
  return LowerNorm(lowering, node, {node.input(0), nullptr, node.input(1), node.input(2), false});
}
base::Result<bool> LowerRmsNorm(Lowering& lowering, const Node& node) {
  return LowerNorm(lowering, node, {node.input(0), nullptr, node.input(1), nullptr, true});
}
base::Result<bool> LowerFusedNorm(Lowering& lowering, const Node& node) {
  return LowerNorm(
      lowering, node,
      {node.input(0), node.input(1), node.input(2), node.input(3), node.Int("rms", 0) != 0});
}

// The value with `axis` moved behind the others, side by side; `strides` are what its own axes have
// there.
Ref TurnedRows(Lowering& lowering, const Value* value, int axis, int64_t* strides) {
  const Shape& shape = lowering.shape(value);
  const Place& from = lowering.place(value);
  Shape turned;
  Place moved;
  moved.ref = from.ref;
  for (int i = 0; i <= shape.rank(); ++i) {
    if (i == axis) continue;
    const int source = i == shape.rank() ? axis : i;
    moved.strides[turned.rank()] = from.strides[source];
    turned.Append(shape[source]);
  }
  Place packed;
  SetPackedStrides(turned, packed);
  for (int i = 0; i < shape.rank(); ++i)
    strides[i] = packed.strides[i < axis ? i : i == axis ? shape.rank() - 1 : i - 1];
  if (IsPacked(turned, moved)) return moved.ref;
  const StridedCopyArgs args = MakeStridedCopy(turned, moved, 4);
  const Ref to{lowering.builder().NewBuffer(shape.elements() * 4), 0};
  lowering.builder().Add(
      {.run = StridedCopy,
       .tiles = StridedCopyTiles(args),
       .work = StridedCopyWork(args),
       .info = {"copy", value->name, shape.ToString() + " rows of one axis", {}}},
      args, {{offsetof(StridedCopyArgs, src), moved.ref}, {offsetof(StridedCopyArgs, dst), to}});
  return to;
}

base::Result<bool> LowerSoftmaxWith(Lowering& lowering, const Node& node, bool log) {
  const Shape& shape = lowering.shape(node.input(0));
  const bool flattening = node.opset < 13;
  int64_t axis = node.Int("axis", flattening ? 1 : -1);
  if (axis < 0) axis += shape.rank();
  if (node.input(0)->dtype != DType::kF32 || shape.rank() == 0 || axis < 0 || axis >= shape.rank())
    return false;
  // Behind the axis there may be others of one element each; else it changes places with them.
  const bool turns = !flattening && shape.elements(static_cast<int>(axis) + 1, shape.rank()) != 1;
  RowSoftmaxArgs args;
  args.log = log;
  args.columns =
      turns ? shape[static_cast<int>(axis)] : shape.elements(static_cast<int>(axis), shape.rank());
  if (args.columns < 1 || shape.elements() < 1) return false;
  args.inner = shape.elements() / args.columns;
  int64_t strides[tensor::kMaxRank] = {};
  const Ref x = turns ? TurnedRows(lowering, node.input(0), static_cast<int>(axis), strides)
                      : lowering.Packed(node.input(0));
  const Ref y = turns ? lowering.DefineAt(node.output(),
                                          std::span(strides, static_cast<size_t>(shape.rank())))
                      : lowering.Define(node.output());
  StepSpec spec{.run = RunSoftmax,
                .tiles = kernels::RowSoftmaxTiles(args),
                .work = kernels::RowSoftmaxWork(args),
                .info = lowering.Info(node, log ? "log_softmax" : "softmax")};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(RowSoftmaxArgs, x), x}, {offsetof(RowSoftmaxArgs, y), y}});
  if (x.offset == 0) lowering.builder().AllowInPlace({y.buffer, x.buffer});
  return true;
}

base::Result<bool> LowerSoftmax(Lowering& lowering, const Node& node) {
  return LowerSoftmaxWith(lowering, node, false);
}
base::Result<bool> LowerLogSoftmax(Lowering& lowering, const Node& node) {
  return LowerSoftmaxWith(lowering, node, true);
}

// The reduced axes as one run [first, first + count); false when they are not known or not
// neighbours.
bool ReducedRun(Lowering& lowering, const Node& node, int& first, int& count) {
  const int rank = lowering.shape(node.input(0)).rank();
  std::vector<int64_t> axes(node.Ints("axes").begin(), node.Ints("axes").end());
  if (const Value* operand = node.input(1)) {
    if (lowering.known(operand) == nullptr) return false;
    axes = lowering.KnownInts(operand);
  }
  if (axes.empty()) {
    if (node.Int("noop_with_empty_axes", 0) != 0) return false;
    first = 0;
    count = rank;
    return rank > 0;
  }
  uint32_t set = 0;
  for (const int64_t axis : axes) {
    const int64_t at = axis < 0 ? axis + rank : axis;
    if (at < 0 || at >= rank) return false;
    set |= 1u << at;
  }
  first = __builtin_ctz(set);
  count = __builtin_popcount(set);
  return set >> first == (1u << count) - 1;
}

template <RowReduceOp op>
base::Result<bool> LowerReduce(Lowering& lowering, const Node& node) {
  const Shape& shape = lowering.shape(node.input(0));
  int first = 0, count = 0;
  if (node.input(0)->dtype != DType::kF32 || !ReducedRun(lowering, node, first, count))
    return false;
  RowReduceArgs args;
  args.op = op;
  args.outer = shape.elements(0, first);
  args.extent = shape.elements(first, first + count);
  args.inner = shape.elements(first + count, shape.rank());
  if (args.outer * args.extent * args.inner == 0) return false;
  const Ref x = lowering.Packed(node.input(0));
  const Ref y = lowering.Define(node.output());
  StepInfo info = lowering.Info(node, "reduce");
  info.detail = std::to_string(args.outer) + "x(" + std::to_string(args.extent) + ")x" +
                std::to_string(args.inner) + " " + std::string(node.op_name());
  StepSpec spec{.run = RunReduce,
                .tiles = kernels::RowReduceTiles(args),
                .work = kernels::RowReduceWork(args),
                .info = std::move(info)};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(RowReduceArgs, x), x}, {offsetof(RowReduceArgs, y), y}});
  return true;
}

}  // namespace

std::span<const LoweringRule> RowRules() {
  static constexpr LoweringRule kRules[] = {
      {"LayerNormalization", ~0u, LowerLayerNorm},
      {"RMSNormalization", ~0u, LowerRmsNorm},
      {"FusedNorm", ~0u, LowerFusedNorm},
      {"Softmax", ~0u, LowerSoftmax},
      {"LogSoftmax", ~0u, LowerLogSoftmax},
      {"ReduceSum", ~0u, LowerReduce<RowReduceOp::kSum>},
      {"ReduceMean", ~0u, LowerReduce<RowReduceOp::kMean>},
      {"ReduceMax", ~0u, LowerReduce<RowReduceOp::kMax>},
      {"ReduceMin", ~0u, LowerReduce<RowReduceOp::kMin>},
      {"ReduceSumSquare", ~0u, LowerReduce<RowReduceOp::kSumSquares>},
      {"ReduceL1", ~0u, LowerReduce<RowReduceOp::kL1>},
  };
  return kRules;
}

}  // namespace sluice::graph

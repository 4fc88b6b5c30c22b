#include "graph/lower/reference_tiles.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "graph/op.h"

namespace sluice::graph {
namespace {

using tensor::Shape;

// The first axis with an extent above 1, or the rank.
int FirstAxis(const Shape& shape) {
  int axis = 0;
  while (axis < shape.rank() && shape[axis] == 1) ++axis;
  return axis;
}

// An attribute's axis made positive; the rank when it points nowhere.
int AxisOf(int64_t axis, int rank) {
  if (axis < 0) axis += rank;
  return axis < 0 || axis > rank ? rank : static_cast<int>(axis);
}

constexpr ReferenceCut kWhole;

// Operand 0 and the outputs along the first axis that counts, if it lies before `end`.
ReferenceCut CutBefore(const RunShapes& at, int end) {
  const Shape& x = at.input_shape(0);
  const int axis = FirstAxis(x);
  if (axis >= end || axis >= x.rank()) return kWhole;
  ReferenceCut cut;
  cut.extent = x[axis];
  cut.inputs[0] = static_cast<int8_t>(axis);
  for (size_t i = 0; i < at.outputs.size(); ++i) {
    if (at.has_output(i)) cut.outputs[i] = static_cast<int8_t>(axis);
  }
  return cut;
}

ReferenceCut CutElementwise(const RunShapes& at) {
  const Shape& y = at.outputs[0].shape;
  const int axis = FirstAxis(y);
  if (axis >= y.rank()) return kWhole;
  ReferenceCut cut;
  cut.extent = y[axis];
  cut.outputs[0] = static_cast<int8_t>(axis);
  for (size_t i = 0; i < at.inputs.size(); ++i) {
    const int own = axis - (y.rank() - at.input_shape(i).rank());
    if (at.has_input(i) && own >= 0 && at.input_shape(i)[own] == cut.extent) {
      cut.inputs[i] = static_cast<int8_t>(own);
    }
  }
  return cut;
}

// Ops that work along one axis of an attribute.
template <int kDefault>
ReferenceCut CutBeforeAxis(const RunShapes& at) {
  return CutBefore(at, AxisOf(at.node->Int("axis", kDefault), at.input_shape(0).rank()));
}
ReferenceCut CutSoftmax(const RunShapes& at) {
  return at.node->opset < 13 ? CutBeforeAxis<1>(at) : CutBeforeAxis<-1>(at);
}
ReferenceCut CutBeforeMatrix(const RunShapes& at) {
  return CutBefore(at, at.input_shape(0).rank() - 2);
}

// Ops whose axis is an operand: cut only where it is a constant.
ReferenceCut CutCumSum(const RunShapes& at) {
  const Value* axis = at.node->input(1);
  if (axis == nullptr || !axis->is_constant() || axis->dtype != tensor::DType::kI64 ||
      axis->constant->shape.elements() != 1)
    return kWhole;
  return CutBefore(at, AxisOf(axis->constant->view().as<int64_t>()[0], at.input_shape(0).rank()));
}

ReferenceCut CutReduce(const RunShapes& at) {
  const int rank = at.input_shape(0).rank();
  std::span<const int64_t> axes = at.node->Ints("axes");
  if (const Value* operand = at.node->input(1)) {
    if (!operand->is_constant() || operand->dtype != tensor::DType::kI64) return kWhole;
    axes = operand->constant->view().span<int64_t>();
  }
  if (axes.empty()) return kWhole;
  int end = rank;
  for (const int64_t axis : axes) end = std::min(end, AxisOf(axis, rank));
  return CutBefore(at, end);
}

// The indices select within a row of the data: both are cut.
template <size_t kInputs>
ReferenceCut CutElementsAlong(const RunShapes& at) {
  const Shape& x = at.input_shape(0);
  const int end = AxisOf(at.node->Int("axis", 0), x.rank());
  ReferenceCut cut = CutBefore(at, end);
  for (size_t i = 1; i < kInputs && cut.extent > 1; ++i) {
    const int axis = cut.inputs[0];
    if (at.input_shape(i).rank() != x.rank() || at.input_shape(i)[axis] != cut.extent)
      return kWhole;
    cut.inputs[i] = cut.inputs[0];
  }
  return cut;
}

ReferenceCut CutOneHot(const RunShapes& at) {
  const int rank = at.input_shape(0).rank();
  return CutBefore(at, std::min(rank, AxisOf(at.node->Int("axis", -1), rank + 1)));
}

ReferenceCut CutQuantize(const RunShapes& at) {
  const int rank = at.input_shape(0).rank();
  const Shape& scale = at.input_shape(1);
  if (scale.elements() == 1) return CutBefore(at, rank);
  return scale.rank() > 1 ? kWhole : CutBefore(at, AxisOf(at.node->Int("axis", 1), rank));
}

// [N, C, …] by batch; with one row by channel, where `parameters` operands are one a channel.
template <size_t kParameters>
ReferenceCut CutPlanes(const RunShapes& at) {
  ReferenceCut cut = CutBefore(at, 2);
  if (cut.extent == 1 || cut.inputs[0] == 0) return cut;
  for (size_t i = 1; i <= kParameters; ++i) cut.inputs[i] = at.has_input(i) ? 0 : -1;
  return cut;
}
ReferenceCut CutPool(const RunShapes& at) {
  // Positions of maxima count from the first row.
  return at.has_output(1) ? kWhole : CutPlanes<0>(at);
}
ReferenceCut CutRows(const RunShapes& at) {
  return CutBefore(at, 1);
}

ReferenceCut CutConv(const RunShapes& at) {
  ReferenceCut cut = CutBefore(at, 1);
  if (cut.extent > 1 || at.input_shape(0)[0] != 1 || at.node->Int("group", 1) != 1) return cut;
  // One image: by output channel.
  const bool zero_each = at.node->Is("ConvInteger") && at.input_shape(3).elements() > 1;
  cut.extent = at.input_shape(1)[0];
  cut.inputs[1] = 0;
  if (at.node->Is("Conv") && at.has_input(2)) cut.inputs[2] = 0;
  if (zero_each) cut.inputs[3] = 0;
  cut.outputs[0] = 1;
  return cut;
}

// Rows of a [..., M, K] and, where both have them, batches; what is one matrix stays whole.
ReferenceCut CutProduct(const RunShapes& at, size_t b_input) {
  const Shape& a = at.input_shape(0);
  const Shape& b = at.input_shape(b_input);
  const Shape& y = at.outputs[0].shape;
  const int axis = FirstAxis(y);
  if (a.rank() < 2 || b.rank() < 2 || axis > y.rank() - 2) return kWhole;
  ReferenceCut cut;
  cut.extent = y[axis];
  cut.outputs[0] = static_cast<int8_t>(axis);
  const auto own = [&](const Shape& shape) -> int8_t {
    const int at_axis = axis - (y.rank() - shape.rank());
    return at_axis >= 0 && shape[at_axis] == cut.extent ? static_cast<int8_t>(at_axis) : int8_t{-1};
  };
  cut.inputs[0] = own(a);
  if (axis < y.rank() - 2) cut.inputs[b_input] = own(b);
  return cut;
}
ReferenceCut CutMatMul(const RunShapes& at) {
  return CutProduct(at, 1);
}
ReferenceCut CutMatMulInteger(const RunShapes& at) {
  const bool zero_each = at.input_shape(2).elements() > 1 || at.input_shape(3).rank() > 1;
  return zero_each ? kWhole : CutProduct(at, 1);
}
ReferenceCut CutQLinearMatMul(const RunShapes& at) {
  return CutProduct(at, 3);
}

ReferenceCut CutAttention(const RunShapes& at) {
  ReferenceCut cut = CutBefore(at, 1);
  if (cut.extent == 1) return kWhole;
  for (size_t i = 1; i < at.inputs.size(); ++i) {
    const Shape& shape = at.input_shape(i);
    const bool mask = i == 3;
    const bool rows = !mask || (shape.rank() == 4 && shape[0] == cut.extent);
    if (at.has_input(i) && rows) cut.inputs[i] = 0;
  }
  return cut;
}

using CutRule = ReferenceCut (*)(const RunShapes&);

CutRule FindCutRule(const Node& node) {
  static const auto* const rules = new std::map<std::string_view, CutRule>{
      {"ArgMax", CutBeforeAxis<0>},
      {"ArgMin", CutBeforeAxis<0>},
      {"Attention", CutAttention},
      {"AveragePool", CutPlanes<0>},
      {"BatchNormalization", CutPlanes<4>},
      {"Conv", CutConv},
      {"ConvInteger", CutConv},
      {"ConvTranspose", CutRows},
      {"CumSum", CutCumSum},
      {"DepthToSpace", CutRows},
      {"DequantizeLinear", CutQuantize},
      {"GatherElements", CutElementsAlong<2>},
      {"GlobalAveragePool", CutPlanes<0>},
      {"GlobalLpPool", CutPlanes<0>},
      {"GlobalMaxPool", CutPlanes<0>},
      {"GroupNormalization", CutRows},
      {"Hardmax", CutSoftmax},
      {"InstanceNormalization", CutPlanes<2>},
      {"LRN", CutRows},
      {"LayerNormalization", CutBeforeAxis<-1>},
      {"LogSoftmax", CutSoftmax},
      {"LpNormalization", CutBeforeAxis<-1>},
      {"LpPool", CutPlanes<0>},
      {"MatMul", CutMatMul},
      {"MatMulInteger", CutMatMulInteger},
      {"MaxPool", CutPool},
      {"OneHot", CutOneHot},
      {"QLinearMatMul", CutQLinearMatMul},
      {"QuantizeLinear", CutQuantize},
      {"ReduceL1", CutReduce},
      {"ReduceL2", CutReduce},
      {"ReduceLogSum", CutReduce},
      {"ReduceLogSumExp", CutReduce},
      {"ReduceMax", CutReduce},
      {"ReduceMean", CutReduce},
      {"ReduceMin", CutReduce},
      {"ReduceProd", CutReduce},
      {"ReduceSum", CutReduce},
      {"ReduceSumSquare", CutReduce},
      {"ScatterElements", CutElementsAlong<3>},
      {"Softmax", CutSoftmax},
      {"SpaceToDepth", CutRows},
      {"TopK", CutBeforeAxis<-1>},
      {"Trilu", CutBeforeMatrix},
  };
  if (!node.op->domain.empty()) return nullptr;
  if ((node.op->traits & kElementwise) != 0) return CutElementwise;
  const auto found = rules->find(node.op->name);
  return found == rules->end() ? nullptr : found->second;
}

// All axes before the cut one have extent 1, and it has the extent of the cut.
bool IsSlice(const Shape& shape, int8_t axis, int64_t extent) {
  if (axis < 0) return true;
  return axis < shape.rank() && shape.elements(0, axis) == 1 && shape[axis] == extent;
}

}  // namespace

ReferenceCut CutReference(const RunShapes& at) {
  if (at.inputs.size() > ReferenceCut::kInputsMax || at.inputs.empty()) return kWhole;
  if (at.outputs.size() > ReferenceCut::kOutputsMax || at.outputs.empty()) return kWhole;
  const CutRule rule = FindCutRule(*at.node);
  if (rule == nullptr) return kWhole;
  const ReferenceCut cut = rule(at);
  for (size_t i = 0; i < at.inputs.size(); ++i) {
    if (!IsSlice(at.inputs[i].shape, cut.inputs[i], cut.extent)) return kWhole;
  }
  for (size_t i = 0; i < at.outputs.size(); ++i) {
    const bool sliced = !at.has_output(i) || cut.outputs[i] >= 0;
    if (!sliced || !IsSlice(at.outputs[i].shape, cut.outputs[i], cut.extent)) return kWhole;
  }
  return cut;
}

double ReferenceNs(const RunShapes& at) {
  constexpr double kElementNs = 10;  // read or written, of a plain loop with double accumulation
  constexpr double kProductNs = 1.5;
  double elements = 0;
  for (const tensor::ConstView& view : at.inputs)
    elements += static_cast<double>(view.shape.elements());
  double outputs = 0;
  for (const tensor::View& view : at.outputs) outputs += static_cast<double>(view.shape.elements());
  // Multiply-adds, or what takes as long.
  double products = 0;
  const Node& node = *at.node;
  const auto y = [&] { return static_cast<double>(at.outputs[0].shape.elements()); };
  const Shape& x = at.input_shape(0);
  if (node.Is("Conv") || node.Is("ConvInteger")) {
    const Shape& weight = at.input_shape(1);
    products = y() * static_cast<double>(weight.elements(1, weight.rank()));
  } else if (node.Is("ConvTranspose")) {
    const Shape& weight = at.input_shape(1);
    products =
        static_cast<double>(x.elements()) * static_cast<double>(weight.elements(1, weight.rank()));
  } else if (node.Is("MaxPool") || node.Is("AveragePool") || node.Is("LpPool")) {
    products = y();
    for (const int64_t extent : node.Ints("kernel_shape")) products *= static_cast<double>(extent);
  } else if (node.Is("MatMul") || node.Is("MatMulInteger") || node.Is("QLinearMatMul") ||
             node.Is("Gemm")) {
    const bool transposed = node.Is("Gemm") && node.Int("transA", 0) != 0;
    if (x.rank() >= 1) products = y() * static_cast<double>(x[transposed ? 0 : x.rank() - 1]);
  } else if (node.Is("LSTM") || node.Is("GRU") || node.Is("RNN")) {
    const Shape& w = at.input_shape(1);
    const Shape& r = at.input_shape(2);
    if (x.rank() == 3 && w.rank() == 3 && r.rank() == 3) {
      products =
          static_cast<double>(x[0] * x[1]) * static_cast<double>(w.elements() + r.elements());
    }
  } else if (node.Is("Attention") && at.input_shape(1).rank() >= 3) {
    const Shape& k = at.input_shape(1);
    products = 2 * static_cast<double>(x.elements()) * static_cast<double>(k[k.rank() - 2]);
  }
  return kElementNs * std::max(outputs, elements) + kProductNs * products;
}

}  // namespace sluice::graph

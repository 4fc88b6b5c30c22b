// Cross layers: a product whose result is multiplied by rows of its own shape takes them, and what
// is added behind them, as its epilogue (DCN v2; a gate is the same without the sum); a product of
// one column that scales a row and is added to it is one op (DCN).
#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

void SetInputAt(Graph& graph, Node& node, size_t index, Value* value) {
  while (node.inputs.size() < index) graph.AddNodeInput(&node, nullptr);
  if (node.inputs.size() == index) {
    graph.AddNodeInput(&node, value);
  } else {
    graph.SetInput(&node, index, value);
  }
}

// Takes the place of `reader`, at which all that it reads is made.
void Absorb(Graph& graph, Node& linear, Node& reader) {
  graph.MoveBefore(&linear, &reader);
  graph.ReplaceUses(reader.output(), linear.output());
  graph.Erase(&reader);
}

// The only use of a value at all, by `op`; null when there are others.
Node* OnlyUse(const Graph& graph, const Value* value, std::string_view op) {
  if (graph.IsOutput(value) || value->uses.size() != 1) return nullptr;
  Node* const reader = value->uses[0].node;
  return reader->Is(op) ? reader : nullptr;
}

bool FuseFactor(Graph& graph, Node& linear) {
  const bool fits = linear.input(3) == nullptr && linear.input(4) == nullptr &&
                    linear.output()->dtype == tensor::DType::kF32;
  if (!fits) return false;
  Node* const product = OnlyUse(graph, linear.output(), "Mul");
  if (product == nullptr) return false;
  Value* const factor = OtherOperand(*product, linear.output());
  if (factor == nullptr || factor->is_constant() || !SameShape(factor, linear.output()))
    return false;
  SetInputAt(graph, linear, 4, factor);
  Absorb(graph, linear, *product);
  Node* const sum = OnlyUse(graph, linear.output(), "Add");
  if (sum == nullptr) return true;
  Value* const residual = OtherOperand(*sum, linear.output());
  if (residual == nullptr || residual->is_constant() || !SameShape(residual, linear.output()))
    return true;
  SetInputAt(graph, linear, 3, residual);
  Absorb(graph, linear, *sum);
  return true;
}

// x0 * (x . w) + b + x, the sums in any order.
base::Result<bool> FuseVector(Graph& graph, Node& linear) {
  Value* const x = linear.input(0);
  const std::optional<int64_t> width = LastExtent(x);
  const bool fits = LastExtent(linear.output()) == 1 && width.has_value() && *width > 1 &&
                    linear.input(2) == nullptr && linear.input(3) == nullptr &&
                    !linear.Has("weights") && !linear.Has("activation") &&
                    linear.output()->dtype == tensor::DType::kF32;
  if (!fits) return false;
  Node* last = OnlyUse(graph, linear.output(), "Mul");
  if (last == nullptr) return false;
  Value* const x0 = OtherOperand(*last, linear.output());
  if (x0 == nullptr || !SameShape(x0, x) || !SameShape(last->output(), x)) return false;
  Value* bias = nullptr;
  bool adds_x = false;
  while (!adds_x || bias == nullptr) {
    Node* const sum = OnlyUse(graph, last->output(), "Add");
    if (sum == nullptr) break;
    Value* const other = OtherOperand(*sum, last->output());
    if (other == x && !adds_x) {
      adds_x = true;
    } else if (bias == nullptr && IsRowConstant(other, *width) && RankOf(other) <= RankOf(x)) {
      bias = other;
    } else {
      break;
    }
    last = sum;
  }
  if (!adds_x) return false;
  std::vector<Value*> inputs = {x0, x, linear.input(1)};
  if (bias != nullptr) inputs.push_back(bias);
  Node* fused = graph.AddNode(RequireOp("FusedVectorCross"), kOpsetMax, std::move(inputs), 1, last);
  fused->name = linear.name.empty() ? last->name : linear.name;
  TRY(InferNode(graph, *fused));
  graph.ReplaceUses(last->output(), fused->output());
  return true;
}

// ---- The same over columns [batch, width, 1], as DeepCTR writes it ----

// Whether a transposition moves axes of one element alone.
bool KeepsOrder(const Node& transpose) {
  const Value* const x = transpose.input(0);
  const std::span<const int64_t> perm = transpose.Ints("perm");
  int64_t last = -1;
  for (const int64_t axis : perm) {
    if ((*x->shape)[static_cast<size_t>(axis)].Is(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return !perm.empty();
}

constexpr int kViewsMax = 8;  // that are looked through; a file may chain any number

// What `value` is in another shape, element by element in the same order.
const Value* Root(const Value* value) {
  for (int i = 0; i < kViewsMax; ++i) {
    const Node* const node = value->producer;
    if (node == nullptr) break;
    const bool view = node->Is("Reshape") || node->Is("Squeeze") || node->Is("Unsqueeze") ||
                      (node->Is("Transpose") && RankOf(node->input(0)) >= 0 && KeepsOrder(*node));
    if (!view) break;
    value = node->input(0);
  }
  return value;
}

bool IsColumns(const Value* value, int64_t width) {
  return RankOf(value) == 3 && (*value->shape)[1].Is(width) && (*value->shape)[2].Is(1);
}

base::Result<Value*> LastAxis(Graph& graph, const char* op, Value* x, Node& before) {
  tensor::Tensor axes{tensor::DType::kI64, tensor::Shape({1}), tensor::Buffer::Allocate(8)};
  *axes.mutable_view().as<int64_t>() = 2;
  Node* node = graph.AddNode(RequireOp(op), kOpsetMax,
                             {x, graph.AddConstant("axes", std::move(axes))}, 1, &before);
  TRY(InferNode(graph, *node));
  return node->output();
}

// What scales x0: the products, whatever their shape, behind views that nobody else reads.
Node* ReaderOfProducts(const Graph& graph, const Value* products) {
  for (int i = 0; i < kViewsMax; ++i) {
    if (graph.IsOutput(products) || products->uses.size() != 1) return nullptr;
    Node* const reader = products->uses[0].node;
    const bool view = reader->Is("Reshape") || reader->Is("Squeeze") || reader->Is("Unsqueeze");
    if (!view) return reader;
    products = reader->output();
  }
  return nullptr;
}

// x0 (x . w) + b + x of columns, the product with x0 as a matrix product over one element.
base::Result<bool> FuseColumns(Graph& graph, Node& linear) {
  const Value* const rows = linear.input(0);
  const std::optional<int64_t> width = LastExtent(rows);
  const bool fits = LastExtent(linear.output()) == 1 && width.has_value() && *width > 1 &&
                    linear.input(2) == nullptr && linear.input(3) == nullptr &&
                    !linear.Has("weights") && !linear.Has("activation") &&
                    linear.output()->dtype == tensor::DType::kF32;
  if (!fits) return false;
  Node* last = ReaderOfProducts(graph, linear.output());
  if (last == nullptr || !(last->Is("MatMul") || last->Is("Mul"))) return false;
  Value* x0 = last->input(0);
  if (last->Is("Mul") && !IsColumns(x0, *width)) x0 = last->input(1);
  if (!IsColumns(x0, *width) || !SameShape(x0, last->output())) return false;
  Value* bias = nullptr;
  Value* x = nullptr;
  while (x == nullptr || bias == nullptr) {
    Node* const sum = OnlyUse(graph, last->output(), "Add");
    if (sum == nullptr) break;
    Value* const other = OtherOperand(*sum, last->output());
    if (other == nullptr) break;
    if (x == nullptr && SameShape(other, x0) && Root(other) == Root(rows)) {
      x = other;
    } else if (bias == nullptr && other->is_constant() && RankOf(other) <= 3 &&
               LastExtent(other) == 1 && other->constant->shape.elements() == *width &&
               SameShape(sum->output(), x0)) {
      bias = other;
    } else {
      break;
    }
    last = sum;
  }
  if (x == nullptr) return false;
  std::vector<Value*> inputs = {TRY(LastAxis(graph, "Squeeze", x0, *last)),
                                TRY(LastAxis(graph, "Squeeze", x, *last)), linear.inputs[1]};
  if (bias != nullptr) {
    tensor::Tensor row = *bias->constant;
    row.shape = tensor::Shape({*width});
    inputs.push_back(graph.AddConstant(bias->name, std::move(row)));
  }
  Node* fused = graph.AddNode(RequireOp("FusedVectorCross"), kOpsetMax, std::move(inputs), 1, last);
  fused->name = linear.name.empty() ? last->name : linear.name;
  TRY(InferNode(graph, *fused));
  graph.ReplaceUses(last->output(), TRY(LastAxis(graph, "Unsqueeze", fused->output(), *last)));
  return true;
}

}  // namespace

base::Result<int64_t> FuseCross(PassContext& context) {
  Graph& graph = context.graph;
  int64_t count = 0;
  for (Node* node : graph.Nodes()) {
    if (node->erased || !node->Is("FusedLinear")) continue;
    if (TRY(FuseVector(graph, *node)) || TRY(FuseColumns(graph, *node)) || FuseFactor(graph, *node))
      ++count;
  }
  if (count > 0) graph.RemoveDead();
  return count;
}

}  // namespace sluice::graph

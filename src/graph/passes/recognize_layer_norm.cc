// LayerNormalization and RMSNormalization written out: x, or x minus its mean, over the root of its
// mean square.
#include <cmath>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// v of sqrt(v), where `value` is that root.
const Value* UnderRoot(const Value* value) {
  if (const Node* root = ProducerIf(value, "Sqrt")) return root->input(0);
  const Node* power = ProducerIf(value, "Pow");
  return power != nullptr && IsScalar(power->input(1), 0.5) ? power->input(0) : nullptr;
}

// v of 1 / sqrt(v).
const Value* UnderInverseRoot(const Value* value) {
  if (const Node* node = ProducerIf(value, "Reciprocal")) return UnderRoot(node->input(0));
  if (const Node* node = ProducerIf(value, "Div")) {
    return IsScalar(node->input(0), 1) ? UnderRoot(node->input(1)) : nullptr;
  }
  const Node* power = ProducerIf(value, "Pow");
  return power != nullptr && IsScalar(power->input(1), -0.5) ? power->input(0) : nullptr;
}

// Whether `value` is the mean over the last axis (kept) of `of`.
bool IsMeanOf(const Value* value, const Value* of) {
  const Node* mean = ProducerIf(value, "ReduceMean");
  return mean != nullptr && mean->input(0) == of && mean->Int("keepdims", 1) == 1 &&
         ReducesLastAxisOnly(*mean);
}

bool IsSquareOf(const Value* value, const Value* of) {
  if (const Node* power = ProducerIf(value, "Pow"))
    return power->input(0) == of && IsScalar(power->input(1), 2);
  const Node* product = ProducerIf(value, "Mul");
  return product != nullptr && product->input(0) == of && product->input(1) == of;
}

struct Normalized {
  Value* x = nullptr;
  bool centred = false;
  double epsilon = 0;
};

// node = d * inverse root or d / root, d and the root's content fitting together.
std::optional<Normalized> Match(const Node& node) {
  for (size_t i = 0; i < 2; ++i) {
    Value* const d = node.input(i);
    const Value* const other = node.input(1 - i);
    const Value* under = nullptr;
    if (node.Is("Mul")) under = UnderInverseRoot(other);
    if (node.Is("Div") && i == 0) under = UnderRoot(other);
    const Node* sum = ProducerIf(under, "Add");
    if (sum == nullptr) continue;
    const std::optional<ScalarOperand> operand = WithScalar(*sum);
    if (!operand.has_value() || operand->scalar < 0) continue;
    const Node* mean = ProducerIf(operand->other, "ReduceMean");
    if (mean == nullptr || !IsMeanOf(operand->other, mean->input(0)) ||
        !IsSquareOf(mean->input(0), d))
      continue;
    if (d->dtype != tensor::DType::kF32 || !LastExtent(d).has_value()) continue;
    const Node* centre = ProducerIf(d, "Sub");
    if (centre != nullptr && IsMeanOf(centre->input(1), centre->input(0))) {
      return Normalized{centre->input(0), true, operand->scalar};
    }
    return Normalized{d, false, operand->scalar};
  }
  return std::nullopt;
}

Value* Ones(Graph& graph, int64_t extent) {
  tensor::Tensor ones{tensor::DType::kF32, tensor::Shape({extent}),
                      tensor::Buffer::Allocate(extent * 4)};
  for (float& one : ones.mutable_view().span<float>()) one = 1;
  return graph.AddConstant("ones", std::move(ones));
}

// A constant [1, …, n] as [n]: the form that the ops take.
Value* AsRow(Graph& graph, const Value* value) {
  tensor::Tensor row = *value->constant;
  row.shape = tensor::Shape({row.shape.elements()});
  return graph.AddConstant(value->name, std::move(row));
}

// The only reader of `value` when it is `op` with a row constant, and that constant.
Node* RowReader(const Graph& graph, const Value* value, std::string_view op, int64_t extent,
                const Value*& row) {
  Node* const reader = OnlyReader(graph, value);
  if (reader == nullptr || !reader->Is(op)) return nullptr;
  row = OtherOperand(*reader, value);
  return IsRowConstant(row, extent) && SameShape(reader->output(), value) ? reader : nullptr;
}

base::Status Rewrite(Graph& graph, Node& node, const Normalized& found) {
  const int64_t extent = *LastExtent(found.x);
  Value* last = node.output();
  const Value* scale = nullptr;
  const Value* bias = nullptr;
  if (Node* scaled = RowReader(graph, last, "Mul", extent, scale)) {
    last = scaled->output();
    Node* shifted = found.centred ? RowReader(graph, last, "Add", extent, bias) : nullptr;
    if (shifted != nullptr) {
      last = shifted->output();
    } else {
      bias = nullptr;
    }
  } else {
    scale = nullptr;
  }
  const OpDef* op = RequireOp(found.centred ? "LayerNormalization" : "RMSNormalization");
  std::vector<Value*> inputs = {found.x,
                                scale != nullptr ? AsRow(graph, scale) : Ones(graph, extent)};
  if (bias != nullptr) inputs.push_back(AsRow(graph, bias));
  Node* fused = graph.AddNode(op, kOpsetMax, std::move(inputs), 1, last->producer);
  fused->name = node.name;
  fused->Set("axis", int64_t{-1});
  fused->Set("epsilon", static_cast<float>(found.epsilon));
  TRY(InferNode(graph, *fused));
  graph.ReplaceUses(last, fused->output());
  return base::Ok();
}

}  // namespace

base::Result<int64_t> RecognizeLayerNorm(PassContext& context) {
  int64_t found = 0;
  for (Node* node : context.graph.Nodes()) {
    if (node->erased || !(node->Is("Div") || node->Is("Mul"))) continue;
    const std::optional<Normalized> match = Match(*node);
    if (!match.has_value()) continue;
    TRY(Rewrite(context.graph, *node, *match));
    ++found;
  }
  context.graph.RemoveDead();
  return found;
}

}  // namespace sluice::graph

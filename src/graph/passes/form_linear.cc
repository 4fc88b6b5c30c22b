// MatMul and Gemm by a constant matrix become FusedLinear, whose weight is packed at load.
#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

bool IsWeight(const Value* value) {
  if (value == nullptr || !value->is_constant() || value->dtype != tensor::DType::kF32)
    return false;
  const tensor::Shape& shape = value->constant->shape;
  return shape.rank() == 2 && shape[0] > 0 && shape[1] > 0;
}

Value* AsRow(Graph& graph, const Value* value) {
  tensor::Tensor row = *value->constant;
  row.shape = tensor::Shape({row.shape.elements()});
  return graph.AddConstant(value->name, std::move(row));
}

// The linear's inputs, or nothing when the Gemm does something else.
std::vector<Value*> GemmInputs(Graph& graph, const Node& gemm, std::string& why) {
  Value* const c = gemm.input(2);
  if (gemm.Int("transA", 0) != 0) why = "its left operand is transposed";
  if (gemm.Float("alpha", 1) != 1) why = "alpha is not 1";
  if (c != nullptr && gemm.Float("beta", 1) != 1) why = "beta is not 1";
  if (!why.empty()) return {};
  std::vector<Value*> inputs = {gemm.inputs[0], gemm.inputs[1]};
  if (c == nullptr) return inputs;
  const std::optional<int64_t> width = LastExtent(gemm.output());
  if (width.has_value() && IsRowConstant(c, *width)) {
    inputs.push_back(AsRow(graph, c));
  } else if (SameShape(c, gemm.output())) {
    inputs.push_back(nullptr);
    inputs.push_back(c);
  } else {
    why = "C is neither a constant row nor of the product's shape";
    return {};
  }
  return inputs;
}

}  // namespace

base::Result<int64_t> FormLinear(PassContext& context) {
  Graph& graph = context.graph;
  int64_t count = 0;
  for (Node* node : graph.Nodes()) {
    const bool gemm = node->Is("Gemm");
    if (!gemm && !node->Is("MatMul")) continue;
    if (!IsWeight(node->input(1)) || node->input(0)->dtype != tensor::DType::kF32) continue;
    if (RankOf(node->input(0)) < 2) continue;
    std::vector<Value*> inputs = {node->inputs[0], node->inputs[1]};
    if (gemm) {
      std::string why;
      inputs = GemmInputs(graph, *node, why);
      if (inputs.empty()) {
        context.Miss(*node, "Gemm with a constant weight left as it is: " + why);
        continue;
      }
    }
    Node* linear = graph.AddNode(RequireOp("FusedLinear"), kOpsetMax, std::move(inputs), 1, node);
    linear->name = node->name;
    linear->Set("trans_b", gemm ? node->Int("transB", 0) : int64_t{0});
    TRY(InferNode(graph, *linear));
    graph.ReplaceUses(node->output(), linear->output());
    graph.Erase(node);
    ++count;
  }
  return count;
}

}  // namespace sluice::graph

// An addition that only a normalisation reads moves into it.
#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {

base::Result<int64_t> FuseNorm(PassContext& context) {
  Graph& graph = context.graph;
  int64_t fused = 0;
  for (Node* node : graph.Nodes()) {
    const bool rms = node->Is("RMSNormalization");
    if (!rms && !node->Is("LayerNormalization")) continue;
    const Value* x = node->input(0);
    const int64_t axis = node->Int("axis", -1);
    const Node* add = ProducerIf(x, "Add");
    if (add == nullptr || OnlyReader(graph, x) == nullptr || node->outputs.size() != 1) continue;
    if (x->dtype != tensor::DType::kF32 || (axis != -1 && axis != RankOf(x) - 1)) continue;
    if (!SameShape(add->input(0), x) || !SameShape(add->input(1), x)) continue;
    const std::optional<int64_t> width = LastExtent(x);
    if (!width.has_value() || !IsRowConstant(node->input(1), *width)) continue;
    if (node->input(2) != nullptr && !IsRowConstant(node->input(2), *width)) continue;
    std::vector<Value*> inputs = {add->inputs[0], add->inputs[1], node->inputs[1]};
    if (node->input(2) != nullptr) inputs.push_back(node->inputs[2]);
    Node* norm = graph.AddNode(RequireOp("FusedNorm"), kOpsetMax, std::move(inputs), 1, node);
    norm->name = node->name;
    norm->Set("axis", int64_t{-1});
    norm->Set("epsilon", node->Float("epsilon", 1e-5F));
    norm->Set("rms", int64_t{rms});
    TRY(InferNode(graph, *norm));
    graph.ReplaceUses(node->output(), norm->output());
    graph.Erase(node);
    ++fused;
  }
  graph.RemoveDead();
  return fused;
}

}  // namespace sluice::graph

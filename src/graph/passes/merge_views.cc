// Merges chains of transposes and drops chains of reshapes that end where they began.
#include <vector>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

bool KeepsOrder(const Node& node) {
  return node.Is("Reshape") || node.Is("Flatten") || node.Is("Squeeze") || node.Is("Unsqueeze");
}

// Transpose(Transpose(x)) becomes one over x.
bool MergeTransposes(Graph& graph, Node& node) {
  const Node* inner = ProducerIf(node.input(0), "Transpose");
  if (inner == nullptr) return false;
  const std::span<const int64_t> first = inner->Ints("perm");
  const std::span<const int64_t> second = node.Ints("perm");
  if (first.size() != second.size() || first.empty()) return false;
  std::vector<int64_t> perm;
  for (const int64_t axis : second) perm.push_back(first[static_cast<size_t>(axis)]);
  node.Set("perm", std::move(perm));
  graph.SetInput(&node, 0, inner->input(0));
  return true;
}

// The value that `value` is a mere reshape of, as far up as its shape equals `value`'s.
Value* SameBefore(const Value* value) {
  Value* best = nullptr;
  const Node* node = value->producer;
  for (int steps = 0; steps < 16 && node != nullptr && KeepsOrder(*node); ++steps) {
    Value* const source = node->input(0);
    if (SameShape(source, value) && steps > 0) best = source;
    node = source->producer;
  }
  return best;
}

}  // namespace

base::Result<int64_t> MergeViews(PassContext& context) {
  int64_t merged = 0;
  for (Node* node : context.graph.Nodes()) {
    if (node->Is("Transpose") && MergeTransposes(context.graph, *node)) ++merged;
    if (!KeepsOrder(*node) || node->output() == nullptr) continue;
    Value* const same = SameBefore(node->output());
    if (same == nullptr || context.graph.UseCount(node->output()) == 0) continue;
    context.graph.ReplaceUses(node->output(), same);
    ++merged;
  }
  return merged;
}

}  // namespace sluice::graph

// Removes nodes that hand on their input unchanged: Identity, inference-time Dropout, casts to the
// same type, adding 0, multiplying by 1, reshapes and expansions to the same shape, transposes in
// order, full slices, concats of one.
#include <algorithm>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

bool IsOrdered(std::span<const int64_t> perm) {
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != static_cast<int64_t>(i)) return false;
  }
  return !perm.empty();
}

bool IsNeutral(const Node& node, const Value*& kept) {
  const bool add = node.Is("Add"), sub = node.Is("Sub"), mul = node.Is("Mul"), div = node.Is("Div");
  if (!add && !sub && !mul && !div) return false;
  const std::optional<ScalarOperand> operand = WithScalar(node);
  if (!operand.has_value() || !SameShape(operand->other, node.output())) return false;
  if ((sub || div) && operand->scalar_first) return false;
  // x + 0 changes -0.0 to 0.0 and nothing else, which no later op of ours tells apart.
  if (operand->scalar != ((add || sub) ? 0.0 : 1.0)) return false;
  kept = operand->other;
  return true;
}

// The input whose elements the node's first output has, in shape, type and order; or null.
const Value* SameAs(const Node& node) {
  const Value* input = node.input(0);
  const Value* output = node.output();
  if (input == nullptr || output == nullptr) return nullptr;
  if (node.Is("Identity")) return input;
  if (node.Is("Dropout")) {
    const Value* training = node.input(2);
    const bool inference = training == nullptr ||
                           (training->is_constant() && training->constant->shape.elements() == 1 &&
                            !*training->constant->view().as<bool>());
    return inference ? input : nullptr;
  }
  if (node.Is("Cast") || node.Is("CastLike"))
    return input->dtype == output->dtype ? input : nullptr;
  if (node.Is("Transpose")) return IsOrdered(node.Ints("perm")) ? input : nullptr;
  if (node.Is("Concat") || node.Is("Sum") || node.Is("Max") || node.Is("Min") || node.Is("Mean")) {
    return node.inputs.size() == 1 ? input : nullptr;
  }
  const Value* kept = nullptr;
  if (IsNeutral(node, kept)) return kept;
  if (!SameShape(input, output)) return nullptr;
  if (node.Is("Reshape") || node.Is("Flatten") || node.Is("Squeeze") || node.Is("Unsqueeze") ||
      node.Is("Expand")) {
    return input;
  }
  if (node.Is("Slice")) {
    // Equal extents with step 1 take everything.
    const Value* steps = node.input(4);
    if (steps == nullptr) return input;
    if (!steps->is_constant() || steps->dtype != tensor::DType::kI64) return nullptr;
    for (const int64_t step : steps->constant->view().span<int64_t>()) {
      if (step != 1) return nullptr;
    }
    return input;
  }
  return nullptr;
}

}  // namespace

base::Result<int64_t> RemoveIdentities(PassContext& context) {
  int64_t removed = 0;
  for (Node* node : context.graph.Nodes()) {
    const auto used = [&](const Value* value) {
      return value != nullptr && context.graph.UseCount(value) > 0;
    };
    if (node->outputs.size() > 1 &&
        std::any_of(node->outputs.begin() + 1, node->outputs.end(), used))
      continue;
    Value* same = const_cast<Value*>(SameAs(*node));
    if (same == nullptr || same->dtype != node->output()->dtype) continue;
    context.graph.ReplaceUses(node->output(), same);
    context.graph.Erase(node);
    ++removed;
  }
  return removed;
}

}  // namespace sluice::graph

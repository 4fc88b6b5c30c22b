// An If whose condition is known before anything runs, as exporters write questions about extents,
// becomes the nodes of the branch that it takes.
#include <optional>
#include <vector>

#include "graph/op.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

std::optional<bool> KnownCondition(const Value* value) {
  if (value == nullptr || value->dtype != tensor::DType::kBool) return std::nullopt;
  if (value->is_constant() && value->constant->shape.elements() == 1)
    return value->constant->view().as<bool>()[0];
  if (value->elements.has_value() && value->elements->size() == 1 &&
      (*value->elements)[0].is_constant())
    return !(*value->elements)[0].Is(0);
  return std::nullopt;
}

// Copies the nodes of `branch` before `choice` and has its outputs read from them.
base::Status Inline(Graph& graph, Node& choice, const Graph& branch) {
  std::vector<Value*> image(branch.value_id_limit(), nullptr);
  const auto at = [&](const Value* value) -> Value*& {
    return image[static_cast<size_t>(value->id)];
  };
  // A branch has its captures as inputs and nothing else.
  const size_t first = choice.inputs.size() - branch.inputs().size();
  for (size_t i = 0; i < branch.inputs().size(); ++i) {
    at(branch.inputs()[i]) = choice.inputs[first + i];
  }
  for (const Value* constant : branch.Constants()) {
    at(constant) = graph.AddConstant(constant->name, constant->constant);
  }
  for (const Node* node = branch.first(); node != nullptr; node = node->next) {
    std::vector<Value*> inputs;
    for (const Value* input : node->inputs)
      inputs.push_back(input == nullptr ? nullptr : at(input));
    Node* twin = graph.AddNode(node->op, node->opset, std::move(inputs), 0, &choice);
    twin->name = node->name;
    twin->attributes = node->attributes;
    twin->captures = node->captures;
    for (const Subgraph& subgraph : node->subgraphs) {
      twin->subgraphs.push_back({subgraph.name, Clone(*subgraph.graph)});
    }
    for (const Value* output : node->outputs) {
      if (output == nullptr) {
        graph.SkipNodeOutput(twin);
      } else {
        at(output) = graph.AddNodeOutput(twin, output->name);
      }
    }
    TRY(InferNode(graph, *twin));
  }
  for (size_t i = 0; i < choice.outputs.size(); ++i) {
    if (choice.outputs[i] == nullptr) continue;
    graph.ReplaceUses(choice.outputs[i], at(branch.outputs()[i].value));
  }
  graph.Erase(&choice);
  return base::Ok();
}

}  // namespace

base::Result<int64_t> InlineBranches(PassContext& context) {
  int64_t inlined = 0;
  for (Node* node : context.graph.Nodes()) {
    if (node->erased || !node->Is("If")) continue;
    const std::optional<bool> condition = KnownCondition(node->input(0));
    if (!condition.has_value()) continue;
    const Graph* taken = node->FindSubgraph(*condition ? "then_branch" : "else_branch");
    if (taken == nullptr) continue;
    TRY(Inline(context.graph, *node, *taken));
    ++inlined;
  }
  return inlined;
}

}  // namespace sluice::graph

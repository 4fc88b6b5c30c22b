// What follows a linear layer and reads nothing else moves into it: the bias, a residual, the
// activation.
#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

void SetInputAt(Graph& graph, Node& node, size_t index, Value* value) {
  while (node.inputs.size() < index) graph.AddNodeInput(&node, nullptr);
  graph.SetInput(&node, index, value);
}

// Takes over the output of `reader`, which goes.
void Absorb(Graph& graph, Node& linear, Node& reader) {
  graph.ReplaceUses(reader.output(), linear.output());
  graph.Erase(&reader);
}

// Whether `value` is made behind `linear` (and then before `reader`, which reads it).
bool MadeBetween(const Node& linear, const Node& reader, const Value* value) {
  for (const Node* node = linear.next; node != nullptr && node != &reader; node = node->next) {
    if (value->producer == node) return true;
  }
  return false;
}

bool FuseAdd(Graph& graph, Node& linear, Node& add) {
  Value* const other = OtherOperand(add, linear.output());
  if (other == nullptr || linear.Has("activation") || !SameShape(add.output(), linear.output()))
    return false;
  const std::optional<int64_t> width = LastExtent(linear.output());
  if (width.has_value() && linear.input(2) == nullptr && IsRowConstant(other, *width)) {
    tensor::Tensor row = *other->constant;
    row.shape = tensor::Shape({row.shape.elements()});
    SetInputAt(graph, linear, 2, graph.AddConstant(other->name, std::move(row)));
    Absorb(graph, linear, add);
    return true;
  }
  if (linear.input(3) != nullptr || !SameShape(other, linear.output())) return false;
  if (MadeBetween(linear, add, other)) {
    // The product moves down to the addition, past no reader of its own.
    if (linear.output()->uses.size() != 1) return false;
    graph.MoveBefore(&linear, &add);
  }
  SetInputAt(graph, linear, 3, other);
  Absorb(graph, linear, add);
  return true;
}

// The kernel's name of an activation node, or null.
const char* ActivationOf(const Node& node) {
  if (node.Is("Relu")) return "relu";
  if (node.Is("Sigmoid")) return "sigmoid";
  if (node.Is("Tanh")) return "tanh";
  if (node.Is("Gelu"))
    return node.String("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu_erf";
  if (node.Is("Swish") && node.Float("alpha", 1) == 1) return "silu";
  return nullptr;
}

bool FuseActivation(Graph& graph, Node& linear, Node& reader) {
  const char* activation = ActivationOf(reader);
  if (activation == nullptr || linear.Has("activation")) return false;
  linear.Set("activation", std::string(activation));
  Absorb(graph, linear, reader);
  return true;
}

// x * sigmoid(x), which reads the linear twice.
bool FuseSilu(Graph& graph, Node& linear) {
  Value* const x = linear.output();
  if (x->uses.size() != 2 || graph.IsOutput(x) || linear.Has("activation")) return false;
  for (const Use& use : x->uses) {
    Node* sigmoid = use.node;
    if (!sigmoid->Is("Sigmoid")) continue;
    Node* product = OnlyReader(graph, sigmoid->output());
    if (product == nullptr || !product->Is("Mul") || OtherOperand(*product, sigmoid->output()) != x)
      return false;
    linear.Set("activation", std::string("silu"));
    graph.ReplaceUses(product->output(), x);
    graph.Erase(product);
    graph.Erase(sigmoid);
    return true;
  }
  return false;
}

}  // namespace

base::Result<int64_t> FuseEpilogues(PassContext& context) {
  Graph& graph = context.graph;
  int64_t count = 0;
  for (Node* node : graph.Nodes()) {
    if (node->erased || !node->Is("FusedLinear")) continue;
    for (int steps = 0; steps < 4; ++steps) {
      if (FuseSilu(graph, *node)) {
        ++count;
        continue;
      }
      Node* reader = OnlyReader(graph, node->output());
      if (reader == nullptr) break;
      const bool fused = reader->Is("Add") ? FuseAdd(graph, *node, *reader)
                                           : FuseActivation(graph, *node, *reader);
      if (!fused) break;
      ++count;
    }
  }
  return count;
}

}  // namespace sluice::graph

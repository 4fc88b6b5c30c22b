// Verify: the invariants of ir.h, checked from scratch. Run after reading and between passes.
#include <unordered_map>
#include <unordered_set>

#include "graph/ir.h"
#include "graph/op.h"

namespace sluice::graph {
namespace {

base::Error Broken(const std::string& text) {
  return base::Internal("graph verifier: " + text);
}

std::string Describe(const Node& node) {
  return "node '" + node.name + "' (" + std::string(node.op_name()) + ")";
}

base::Status VerifyValue(const Value& value) {
  const std::string name = "value '" + value.name + "'";
  if (!value.typed) return Broken(name + " has no type");
  if (value.shape.has_value()) {
    if (value.shape->size() > static_cast<size_t>(tensor::kMaxRank))
      return Broken(name + " has a rank above the limit");
    for (const Dim& dim : *value.shape) {
      if (dim.is_constant() && dim.constant() < 0)
        return Broken(name + " has a negative dimension");
    }
  }
  if (value.elements.has_value() && value.shape.has_value()) {
    if (value.shape->size() > 1) return Broken(name + " has known elements but a rank above 1");
    const Dim extent = value.shape->empty() ? Dim(1) : (*value.shape)[0];
    if (extent.is_constant() && extent.constant() != static_cast<int64_t>(value.elements->size())) {
      return Broken(name + " has another number of known elements than its shape says");
    }
  }
  if (value.constant != nullptr) {
    if (value.producer != nullptr) return Broken("constant " + name + " has a producer");
    if (value.constant->dtype != value.dtype)
      return Broken("constant " + name + " has another type than its tensor");
    const auto dims = value.constant->shape.dims();
    if (!value.shape.has_value() || *value.shape != SymShape(dims.begin(), dims.end())) {
      return Broken("constant " + name + " has another shape than its tensor");
    }
  }
  return base::Ok();
}

base::Status VerifySubgraphs(const Node& node) {
  for (const Subgraph& subgraph : node.subgraphs) {
    const Graph& body = *subgraph.graph;
    const auto captures = static_cast<size_t>(node.captures);
    if (body.inputs().size() < captures || node.inputs.size() < captures) {
      return Broken(Describe(node) + ": '" + subgraph.name +
                    "' has fewer inputs than the node has captures");
    }
    for (size_t i = 1; i <= captures; ++i) {
      const Value* outer = node.inputs[node.inputs.size() - i];
      const Value* inner = body.inputs()[body.inputs().size() - i];
      if (outer == nullptr || outer->dtype != inner->dtype) {
        return Broken(Describe(node) + ": capture '" + inner->name +
                      "' has another type inside than outside");
      }
    }
    TRY(Verify(body));
  }
  return base::Ok();
}

base::Status VerifyNode(const Node& node, const std::unordered_set<const Value*>& defined) {
  if (node.op == nullptr) return Broken("a node without an op");
  if (node.erased) return Broken(Describe(node) + " is erased but linked");
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* input = node.inputs[i];
    if (input == nullptr) continue;
    if (input->constant == nullptr && defined.count(input) == 0) {
      return Broken(Describe(node) + " reads '" + input->name + "' before it is made");
    }
    int found = 0;
    for (const Use& use : input->uses)
      found += use.node == &node && use.index == static_cast<int>(i);
    if (found != 1)
      return Broken(Describe(node) + ": the uses of '" + input->name +
                    "' disagree with the inputs");
  }
  const auto inputs = static_cast<int>(node.inputs.size()) - node.captures;
  if (inputs < node.op->inputs_min || (node.op->inputs_max >= 0 && inputs > node.op->inputs_max)) {
    return Broken(Describe(node) + " has " + std::to_string(inputs) + " inputs");
  }
  return VerifySubgraphs(node);
}

}  // namespace

base::Status Verify(const Graph& graph) {
  std::unordered_set<const Value*> defined;
  std::unordered_map<const Value*, size_t> uses;
  for (const Value* input : graph.inputs()) {
    if (input->producer != nullptr || input->constant != nullptr) {
      return Broken("graph input '" + input->name + "' has a producer");
    }
    if (!defined.insert(input).second)
      return Broken("graph input '" + input->name + "' is listed twice");
    TRY(VerifyValue(*input));
  }
  const Node* previous = nullptr;
  int64_t count = 0;
  for (const Node* node = graph.first(); node != nullptr; node = node->next) {
    if (node->previous != previous) return Broken("the node list is not linked both ways");
    previous = node;
    ++count;
    TRY(VerifyNode(*node, defined));
    for (const Value* input : node->inputs) {
      if (input == nullptr) continue;
      ++uses[input];
      if (input->constant != nullptr) TRY(VerifyValue(*input));
    }
    for (size_t i = 0; i < node->outputs.size(); ++i) {
      const Value* output = node->outputs[i];
      if (output == nullptr) continue;
      if (output->producer != node || output->producer_output != static_cast<int>(i)) {
        return Broken("value '" + output->name + "' does not know its producer " + Describe(*node));
      }
      if (!defined.insert(output).second)
        return Broken("value '" + output->name + "' is made twice");
      TRY(VerifyValue(*output));
    }
  }
  if (count != graph.node_count()) return Broken("the node count is wrong");
  for (const GraphOutput& output : graph.outputs()) {
    if (output.value == nullptr ||
        (output.value->constant == nullptr && defined.count(output.value) == 0)) {
      return Broken("output '" + output.name + "' is not made by the graph");
    }
    TRY(VerifyValue(*output.value));
  }
  for (const Value* value : defined) {
    const auto found = uses.find(value);
    if (value->uses.size() != (found == uses.end() ? 0 : found->second)) {
      return Broken("value '" + value->name + "' has uses outside of the graph");
    }
  }
  return base::Ok();
}

}  // namespace sluice::graph

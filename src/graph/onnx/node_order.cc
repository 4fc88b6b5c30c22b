#include "graph/onnx/node_order.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <set>
#include <unordered_map>

namespace sluice::graph {

std::string Describe(const onnx::NodeProto& node) {
  return "node '" + node.name() + "' (" + node.op_type() + "): ";
}

void NamesRead(const onnx::NodeProto& node, std::vector<const std::string*>& names) {
  for (const std::string& input : node.input()) names.push_back(&input);
  const auto read_graph = [&names](const onnx::GraphProto& graph) {
    for (const onnx::NodeProto& inner : graph.node()) NamesRead(inner, names);
    for (const onnx::ValueInfoProto& output : graph.output()) names.push_back(&output.name());
  };
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.has_g()) read_graph(attribute.g());
    for (const onnx::GraphProto& graph : attribute.graphs()) read_graph(graph);
  }
}

base::Result<std::vector<const onnx::NodeProto*>> OrderNodes(
    const NodeProtos& nodes, base::FunctionRef<bool(const std::string&)> known) {
  std::unordered_map<std::string, int> maker;
  for (int i = 0; i < nodes.size(); ++i) {
    for (const std::string& output : nodes[i].output()) {
      if (!output.empty() && !maker.emplace(output, i).second) {
        return base::InvalidArgument(Describe(nodes[i]) + "value '" + output + "' is made twice");
      }
    }
  }
  std::vector<std::vector<int>> readers(static_cast<size_t>(nodes.size()));
  std::vector<int> missing(static_cast<size_t>(nodes.size()), 0);
  for (int i = 0; i < nodes.size(); ++i) {
    std::vector<const std::string*> names;
    NamesRead(nodes[i], names);
    std::set<int> makers;
    for (const std::string* name : names) {
      const auto found = maker.find(*name);
      // A node's own output name inside its subgraph is the subgraph's own value.
      const bool own = found != maker.end() && found->second == i &&
                       std::find(nodes[i].input().begin(), nodes[i].input().end(), *name) ==
                           nodes[i].input().end();
      if (found != maker.end() && !own && !known(*name)) makers.insert(found->second);
    }
    missing[static_cast<size_t>(i)] = static_cast<int>(makers.size());
    for (const int m : makers) readers[static_cast<size_t>(m)].push_back(i);
  }
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (int i = 0; i < nodes.size(); ++i) {
    if (missing[static_cast<size_t>(i)] == 0) ready.push(i);
  }
  std::vector<const onnx::NodeProto*> order;
  while (!ready.empty()) {
    const int i = ready.top();
    ready.pop();
    order.push_back(&nodes[i]);
    for (const int reader : readers[static_cast<size_t>(i)]) {
      if (--missing[static_cast<size_t>(reader)] == 0) ready.push(reader);
    }
  }
  if (order.size() < static_cast<size_t>(nodes.size())) {
    for (int i = 0; i < nodes.size(); ++i) {
      if (missing[static_cast<size_t>(i)] > 0)
        return base::InvalidArgument(Describe(nodes[i]) + "is part of a cycle");
    }
  }
  return order;
}

}  // namespace sluice::graph

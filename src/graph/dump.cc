// Dump: the graph as text, a line a node, stable across runs: for golden tests and explain.
#include <cstdio>

#include "graph/ir.h"
#include "graph/op.h"

namespace sluice::graph {
namespace {

std::string TypeText(const Graph& graph, const Value& value) {
  if (!value.typed) return "?";
  std::string text(tensor::DTypeName(value.dtype));
  text += value.shape.has_value() ? graph.symbols().ToString(*value.shape) : "[*]";
  if (!value.elements.has_value()) return text;
  text += "=(";
  for (size_t i = 0; i < value.elements->size(); ++i) {
    if (i > 0) text += ", ";
    text += graph.symbols().ToString((*value.elements)[i]);
  }
  return text + ")";
}

template <class T, class Format>
std::string ListText(const std::vector<T>& list, Format format) {
  std::string text = "[";
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) text += ", ";
    if (i == 16) return text + "…]";
    text += format(list[i]);
  }
  return text + "]";
}

std::string FloatText(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

struct AttributeText {
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(float value) const { return FloatText(value); }
  std::string operator()(const std::string& value) const {
    return "\"" + value.substr(0, 64) + "\"";
  }
  std::string operator()(const std::vector<int64_t>& list) const {
    return ListText(list, [](int64_t v) { return std::to_string(v); });
  }
  std::string operator()(const std::vector<float>& list) const { return ListText(list, FloatText); }
  std::string operator()(const std::vector<std::string>& list) const {
    return ListText(list, [](const std::string& v) { return "\"" + v.substr(0, 64) + "\""; });
  }
  std::string operator()(const tensor::Tensor& value) const {
    return std::string(tensor::DTypeName(value.dtype)) + value.shape.ToString();
  }
};

void DumpInto(const Graph& graph, const std::string& indent, std::string& text) {
  for (const Value* input : graph.inputs()) {
    text += indent + "input %" + input->name + ": " + TypeText(graph, *input) + "\n";
  }
  for (const Value* constant : graph.Constants()) {
    text += indent + "constant %" + constant->name + ": " + TypeText(graph, *constant) + "\n";
  }
  for (const Node* node = graph.first(); node != nullptr; node = node->next) {
    text += indent;
    for (size_t i = 0; i < node->outputs.size(); ++i) {
      if (i > 0) text += ", ";
      const Value* output = node->outputs[i];
      text += output == nullptr ? "_" : "%" + output->name + ": " + TypeText(graph, *output);
    }
    text += " = ";
    if (!node->op->domain.empty()) text += std::string(node->op->domain) + ".";
    text += std::string(node->op_name()) + "(";
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      if (i > 0) text += ", ";
      text += node->inputs[i] == nullptr ? "_" : "%" + node->inputs[i]->name;
    }
    text += ")";
    for (size_t i = 0; i < node->attributes.size(); ++i) {
      text += i == 0 ? " {" : ", ";
      text +=
          node->attributes[i].name + "=" + std::visit(AttributeText(), node->attributes[i].value);
    }
    text += node->attributes.empty() ? "\n" : "}\n";
    for (const Subgraph& subgraph : node->subgraphs) {
      text += indent + "  " + subgraph.name + ":\n";
      DumpInto(*subgraph.graph, indent + "    ", text);
    }
  }
  for (const GraphOutput& output : graph.outputs()) {
    text += indent + "output " + output.name + " = %" + output.value->name + "\n";
  }
}

}  // namespace

std::string Dump(const Graph& graph) {
  std::string text;
  DumpInto(graph, "", text);
  return text;
}

}  // namespace sluice::graph

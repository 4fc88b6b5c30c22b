// Merges nodes that compute the same thing, and constants of the same small content.
#include <cstring>
#include <map>
#include <string>

#include "graph/op.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

constexpr int64_t kConstantBytesMax = 4096;  // larger ones are weights, which differ

void Append(std::string& key, const void* data, size_t bytes) {
  const size_t length = bytes;
  key.append(reinterpret_cast<const char*>(&length), sizeof(length));
  key.append(static_cast<const char*>(data), bytes);
}

void AppendTensor(std::string& key, const tensor::Tensor& tensor) {
  key.push_back(static_cast<char>(tensor.dtype));
  Append(key, tensor.shape.dims().data(), tensor.shape.dims().size_bytes());
  Append(key, tensor.buffer.data(), static_cast<size_t>(tensor.bytes()));
}

void AppendAttribute(std::string& key, const Attribute& attribute) {
  Append(key, attribute.name.data(), attribute.name.size());
  key.push_back(static_cast<char>(attribute.value.index()));
  if (const auto* i = std::get_if<int64_t>(&attribute.value)) Append(key, i, sizeof(*i));
  if (const auto* f = std::get_if<float>(&attribute.value)) Append(key, f, sizeof(*f));
  if (const auto* s = std::get_if<std::string>(&attribute.value)) Append(key, s->data(), s->size());
  if (const auto* ints = std::get_if<std::vector<int64_t>>(&attribute.value)) {
    Append(key, ints->data(), ints->size() * sizeof(int64_t));
  }
  if (const auto* floats = std::get_if<std::vector<float>>(&attribute.value)) {
    Append(key, floats->data(), floats->size() * sizeof(float));
  }
  if (const auto* strings = std::get_if<std::vector<std::string>>(&attribute.value)) {
    for (const std::string& s : *strings) Append(key, s.data(), s.size());
  }
  if (const auto* tensor = std::get_if<tensor::Tensor>(&attribute.value))
    AppendTensor(key, *tensor);
}

bool HoldsStrings(const Node& node) {
  for (const Attribute& attribute : node.attributes) {
    const auto* tensor = std::get_if<tensor::Tensor>(&attribute.value);
    if (tensor != nullptr && tensor->dtype == tensor::DType::kBytes) return true;
  }
  return false;
}

std::string KeyOf(const Node& node) {
  std::string key;
  Append(key, &node.op, sizeof(node.op));
  Append(key, &node.opset, sizeof(node.opset));
  for (const Value* value : node.inputs) {
    const int32_t id = value == nullptr ? -1 : value->id;
    key.append(reinterpret_cast<const char*>(&id), sizeof(id));
  }
  for (const Value* value : node.outputs) key.push_back(value == nullptr ? '0' : '1');
  // Exporters write attributes in a fixed order, so equal nodes have equal lists.
  for (const Attribute& attribute : node.attributes) AppendAttribute(key, attribute);
  return key;
}

}  // namespace

base::Result<int64_t> MergeDuplicates(PassContext& context) {
  Graph& graph = context.graph;
  int64_t merged = 0;
  std::map<std::string, Value*> constants;
  for (Value* value : graph.Constants()) {
    const tensor::Tensor& tensor = *value->constant;
    if (tensor.dtype == tensor::DType::kBytes || tensor.bytes() > kConstantBytesMax) continue;
    std::string key;
    AppendTensor(key, tensor);
    const auto [at, added] = constants.emplace(std::move(key), value);
    if (added || at->second == value) continue;
    graph.ReplaceUses(value, at->second);
    ++merged;
  }
  std::map<std::string, Node*> nodes;
  for (Node* node : graph.Nodes()) {
    if ((node->op->traits & (kControlFlow | kNotDeterministic)) != 0 || !node->subgraphs.empty())
      continue;
    if (HoldsStrings(*node)) continue;
    const auto [at, added] = nodes.emplace(KeyOf(*node), node);
    if (added) continue;
    for (size_t i = 0; i < node->outputs.size(); ++i) {
      if (node->outputs[i] != nullptr) graph.ReplaceUses(node->outputs[i], at->second->outputs[i]);
    }
    graph.Erase(node);
    ++merged;
  }
  return merged;
}

}  // namespace sluice::graph

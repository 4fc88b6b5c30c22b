#include "graph/ir.h"

#include <algorithm>
#include <unordered_set>

#include "graph/op.h"

namespace sluice::graph {

// ---- Node ----

std::string_view Node::op_name() const {
  return op->name;
}

bool Node::Is(std::string_view op_name) const {
  return op->name == op_name && (op->domain.empty() || op->domain == kOurDomain);
}

const AttributeValue* Node::Find(std::string_view key) const {
  for (const Attribute& attribute : attributes) {
    if (attribute.name == key) return &attribute.value;
  }
  return nullptr;
}

namespace {

template <class T>
const T* FindAs(const Node& node, std::string_view key) {
  const AttributeValue* value = node.Find(key);
  return value == nullptr ? nullptr : std::get_if<T>(value);
}

template <class T>
std::span<const T> FindSpan(const Node& node, std::string_view key) {
  const std::vector<T>* list = FindAs<std::vector<T>>(node, key);
  return list == nullptr ? std::span<const T>() : std::span<const T>(*list);
}

}  // namespace

int64_t Node::Int(std::string_view key, int64_t fallback) const {
  const int64_t* value = FindAs<int64_t>(*this, key);
  return value == nullptr ? fallback : *value;
}

float Node::Float(std::string_view key, float fallback) const {
  const float* value = FindAs<float>(*this, key);
  return value == nullptr ? fallback : *value;
}

std::string_view Node::String(std::string_view key, std::string_view fallback) const {
  const std::string* value = FindAs<std::string>(*this, key);
  return value == nullptr ? fallback : std::string_view(*value);
}

std::span<const int64_t> Node::Ints(std::string_view key) const {
  return FindSpan<int64_t>(*this, key);
}
std::span<const float> Node::Floats(std::string_view key) const {
  return FindSpan<float>(*this, key);
}
std::span<const std::string> Node::Strings(std::string_view key) const {
  return FindSpan<std::string>(*this, key);
}
const tensor::Tensor* Node::TensorAttribute(std::string_view key) const {
  return FindAs<tensor::Tensor>(*this, key);
}

Graph* Node::FindSubgraph(std::string_view key) const {
  for (const Subgraph& subgraph : subgraphs) {
    if (subgraph.name == key) return subgraph.graph.get();
  }
  return nullptr;
}

void Node::Set(std::string_view key, AttributeValue value) {
  for (Attribute& attribute : attributes) {
    if (attribute.name == key) {
      attribute.value = std::move(value);
      return;
    }
  }
  attributes.push_back({std::string(key), std::move(value)});
}

void Node::Remove(std::string_view key) {
  std::erase_if(attributes, [key](const Attribute& attribute) { return attribute.name == key; });
}

// ---- Graph: building ----

Graph::Graph(std::shared_ptr<SymbolTable> symbols) : symbols_(std::move(symbols)) {}
Graph::~Graph() = default;

std::string Graph::UniqueName(std::string_view base) {
  if (!base.empty() && value_by_name_.find(base) == value_by_name_.end()) return std::string(base);
  std::string unique;
  do {
    unique = std::string(base.empty() ? "v" : base) + "." + std::to_string(next_suffix_++);
  } while (value_by_name_.find(unique) != value_by_name_.end());
  return unique;
}

Value* Graph::NewValue(std::string_view base) {
  auto value = std::make_unique<Value>();
  value->id = static_cast<int32_t>(values_.size());
  value->name = UniqueName(base);
  value_by_name_.emplace(value->name, value.get());
  values_.push_back(std::move(value));
  return values_.back().get();
}

Value* Graph::AddInput(std::string_view base, tensor::DType dtype, std::optional<SymShape> shape) {
  Value* value = NewValue(base);
  value->typed = true;
  value->dtype = dtype;
  value->shape = std::move(shape);
  inputs_.push_back(value);
  return value;
}

Value* Graph::AddConstant(std::string_view base, std::shared_ptr<const tensor::Tensor> tensor) {
  Value* value = NewValue(base);
  value->typed = true;
  value->dtype = tensor->dtype;
  value->shape = SymShape(tensor->shape.dims().begin(), tensor->shape.dims().end());
  value->constant = std::move(tensor);
  return value;
}

Value* Graph::AddConstant(std::string_view base, tensor::Tensor tensor) {
  return AddConstant(base, std::make_shared<const tensor::Tensor>(std::move(tensor)));
}

void Graph::AddOutput(std::string_view base, Value* value) {
  outputs_.push_back({std::string(base), value});
}

Node* Graph::AddNode(const OpDef* op, int opset, std::vector<Value*> inputs, size_t output_count,
                     Node* before) {
  CHECK(op != nullptr);
  auto owned = std::make_unique<Node>();
  Node* node = owned.get();
  node->id = static_cast<int32_t>(nodes_.size());
  nodes_.push_back(std::move(owned));
  node->op = op;
  node->opset = opset;
  Link(node, before);
  for (size_t i = 0; i < inputs.size(); ++i) SetInput(node, i, inputs[i]);
  node->inputs.resize(inputs.size(), nullptr);
  for (size_t i = 0; i < output_count; ++i) AddNodeOutput(node, "");
  return node;
}

Value* Graph::AddNodeOutput(Node* node, std::string_view base) {
  Value* value = NewValue(base);
  value->producer = node;
  value->producer_output = static_cast<int>(node->outputs.size());
  node->outputs.push_back(value);
  return value;
}

void Graph::SkipNodeOutput(Node* node) {
  node->outputs.push_back(nullptr);
}

// ---- Graph: editing ----

namespace {

void DropUse(Value* value, const Node* node, size_t index) {
  if (value == nullptr) return;
  const auto at = std::find_if(value->uses.begin(), value->uses.end(), [&](const Use& use) {
    return use.node == node && use.index == static_cast<int>(index);
  });
  CHECK(at != value->uses.end()) << value->name;
  value->uses.erase(at);
}

}  // namespace

void Graph::SetInput(Node* node, size_t index, Value* value) {
  if (index >= node->inputs.size()) node->inputs.resize(index + 1, nullptr);
  if (node->inputs[index] == value) return;
  DropUse(node->inputs[index], node, index);
  node->inputs[index] = value;
  if (value != nullptr) value->uses.push_back({node, static_cast<int>(index)});
}

void Graph::RemoveNodeInput(Node* node, size_t index) {
  CHECK_LT(index, node->inputs.size());
  for (size_t i = index; i + 1 < node->inputs.size(); ++i) SetInput(node, i, node->inputs[i + 1]);
  SetInput(node, node->inputs.size() - 1, nullptr);
  node->inputs.pop_back();
}

void Graph::ReplaceUses(Value* from, Value* to) {
  CHECK(from != to);
  const std::vector<Use> uses = from->uses;
  for (const Use& use : uses) SetInput(use.node, static_cast<size_t>(use.index), to);
  for (GraphOutput& output : outputs_) {
    if (output.value == from) output.value = to;
  }
}

void Graph::Erase(Node* node) {
  CHECK(!node->erased);
  for (size_t i = 0; i < node->inputs.size(); ++i) SetInput(node, i, nullptr);
  for (Value* output : node->outputs) {
    if (output == nullptr) continue;
    CHECK(output->uses.empty() && !IsOutput(output)) << output->name;
    output->producer = nullptr;
    value_by_name_.erase(output->name);
  }
  node->inputs.clear();
  Unlink(node);
  node->erased = true;
}

void Graph::MoveBefore(Node* node, Node* before) {
  if (node == before || node->next == before) return;
  Unlink(node);
  Link(node, before);
}

void Graph::Link(Node* node, Node* before) {
  node->next = before;
  node->previous = before != nullptr ? before->previous : last_;
  (node->previous != nullptr ? node->previous->next : first_) = node;
  (before != nullptr ? before->previous : last_) = node;
  ++node_count_;
}

void Graph::Unlink(Node* node) {
  (node->previous != nullptr ? node->previous->next : first_) = node->next;
  (node->next != nullptr ? node->next->previous : last_) = node->previous;
  node->next = nullptr;
  node->previous = nullptr;
  --node_count_;
}

int64_t Graph::RemoveDead() {
  int64_t removed = 0;
  std::unordered_set<const Value*> kept;
  for (const GraphOutput& output : outputs_) kept.insert(output.value);
  Node* previous = nullptr;
  for (Node* node = last_; node != nullptr; node = previous) {
    previous = node->previous;
    const bool needed =
        std::any_of(node->outputs.begin(), node->outputs.end(), [&](const Value* output) {
          return output != nullptr && (!output->uses.empty() || kept.count(output) > 0);
        });
    if (needed) continue;
    Erase(node);
    ++removed;
  }
  for (const auto& value : values_) {
    if (value->constant != nullptr && value->uses.empty() && kept.count(value.get()) == 0) {
      value_by_name_.erase(value->name);
      value->constant.reset();
    }
  }
  return removed;
}

// ---- Graph: looking ----

std::vector<Node*> Graph::Nodes() const {
  std::vector<Node*> nodes;
  nodes.reserve(static_cast<size_t>(node_count_));
  for (Node* node = first_; node != nullptr; node = node->next) nodes.push_back(node);
  return nodes;
}

std::vector<Value*> Graph::Constants() const {
  std::unordered_set<const Value*> kept;
  for (const GraphOutput& output : outputs_) kept.insert(output.value);
  std::vector<Value*> constants;
  for (const auto& value : values_) {
    if (value->constant != nullptr && (!value->uses.empty() || kept.count(value.get()) > 0)) {
      constants.push_back(value.get());
    }
  }
  return constants;
}

bool Graph::IsOutput(const Value* value) const {
  return std::any_of(outputs_.begin(), outputs_.end(),
                     [value](const GraphOutput& output) { return output.value == value; });
}

bool Graph::IsInput(const Value* value) const {
  return std::find(inputs_.begin(), inputs_.end(), value) != inputs_.end();
}

int64_t Graph::UseCount(const Value* value) const {
  return static_cast<int64_t>(value->uses.size()) +
         std::count_if(outputs_.begin(), outputs_.end(),
                       [value](const GraphOutput& output) { return output.value == value; });
}

Value* Graph::FindValue(std::string_view key) const {
  const auto found = value_by_name_.find(key);
  return found == value_by_name_.end() ? nullptr : found->second;
}

std::unique_ptr<Graph> Clone(const Graph& graph) {
  auto copy = std::make_unique<Graph>(graph.shared_symbols());
  copy->name = graph.name;
  std::vector<Value*> map(graph.value_id_limit(), nullptr);
  const auto image = [&map](const Value* value) {
    return value == nullptr ? nullptr : map[static_cast<size_t>(value->id)];
  };
  for (const Value* input : graph.inputs()) {
    Value* twin = copy->AddInput(input->name, input->dtype, input->shape);
    twin->elements = input->elements;
    map[static_cast<size_t>(input->id)] = twin;
  }
  for (const Value* constant : graph.Constants()) {
    map[static_cast<size_t>(constant->id)] = copy->AddConstant(constant->name, constant->constant);
  }
  for (const Node* node = graph.first(); node != nullptr; node = node->next) {
    std::vector<Value*> inputs;
    for (const Value* input : node->inputs) inputs.push_back(image(input));
    Node* twin = copy->AddNode(node->op, node->opset, std::move(inputs), 0);
    twin->name = node->name;
    twin->attributes = node->attributes;
    twin->captures = node->captures;
    for (const Subgraph& subgraph : node->subgraphs) {
      twin->subgraphs.push_back({subgraph.name, Clone(*subgraph.graph)});
    }
    for (const Value* output : node->outputs) {
      if (output == nullptr) {
        copy->SkipNodeOutput(twin);
        continue;
      }
      Value* value = copy->AddNodeOutput(twin, output->name);
      value->typed = output->typed;
      value->dtype = output->dtype;
      value->shape = output->shape;
      value->elements = output->elements;
      map[static_cast<size_t>(output->id)] = value;
    }
  }
  for (const GraphOutput& output : graph.outputs())
    copy->AddOutput(output.name, image(output.value));
  return copy;
}

}  // namespace sluice::graph

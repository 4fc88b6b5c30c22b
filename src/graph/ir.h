// The intermediate representation: an SSA graph of tensors with symbolic shapes, and the edits that
// passes make to it. Reading ONNX is onnx/reader.h, what an op means is op.h, running is
// interpreter.h and the compiled program.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "graph/dim.h"
#include "tensor/tensor.h"

namespace sluice::graph {

class Graph;
struct Node;
struct OpDef;

// Bounds on what a model file may make us build. Every one is tested.
struct GraphLimits {
  int64_t nodes_max = 200'000;  // over all subgraphs, after functions are inlined
  int64_t nesting_max = 8;      // subgraphs in subgraphs, functions in functions
  int64_t name_bytes_max = 4096;
  int64_t inputs_per_node_max = 4096;  // and outputs
  int64_t attributes_per_node_max = 256;
  int64_t tensor_bytes_max = int64_t{64} << 30;  // of one tensor
  int64_t inline_bytes_max = int64_t{8}
                             << 30;  // of all tensors stored in the model file, after inlining
};

// Input `index` of `node`.
struct Use {
  Node* node = nullptr;
  int index = 0;
};

// One tensor of the graph: a graph input, a constant or an output of a node. Owned by its Graph;
// its address is stable.
struct Value {
  int32_t id = 0;      // dense within the graph: an index for side tables
  std::string name;    // unique within the graph
  bool typed = false;  // whether dtype is known; after inference always
  tensor::DType dtype = tensor::DType::kF32;
  std::optional<SymShape> shape;  // nullopt: not even the rank is known
  // What is known of the elements of a small integer tensor of rank 0 or 1, as exporters' shape
  // arithmetic makes them.
  std::optional<std::vector<Dim>> elements;
  std::shared_ptr<const tensor::Tensor> constant;  // set exactly on constants
  Node* producer = nullptr;                        // null for inputs and constants
  int producer_output = 0;
  std::vector<Use> uses;  // by nodes; graph outputs are not counted here

  bool is_constant() const { return constant != nullptr; }
};

using AttributeValue = std::variant<int64_t, float, std::string, std::vector<int64_t>,
                                    std::vector<float>, std::vector<std::string>, tensor::Tensor>;
struct Attribute {
  std::string name;
  AttributeValue value;
};

// A closed graph carried by a node. What it reads from outside are inputs at its end (see
// Node::captures).
struct Subgraph {
  std::string name;  // "then_branch", "else_branch", "body"
  std::unique_ptr<Graph> graph;
};

// One operation. Owned by its Graph; the address stays valid, also after Erase, until the graph is
// gone.
struct Node {
  int32_t id = 0;
  std::string name;             // the exporter's, for messages and explain only
  const OpDef* op = nullptr;    // the row of the registry; never null
  int opset = 0;                // the version that the model imports for the op's domain
  std::vector<Value*> inputs;   // null where an optional input is absent
  std::vector<Value*> outputs;  // null where an optional output is not asked for
  std::vector<Attribute> attributes;
  std::vector<Subgraph> subgraphs;
  // The last `captures` inputs are values of the enclosing scope that subgraphs read; each subgraph
  // ends with as many inputs, in the same order.
  int captures = 0;
  bool erased = false;

  // Whether this is `name` of the standard domain (or of ours, for fused ops).
  bool Is(std::string_view op_name) const;
  std::string_view op_name() const;
  Value* input(size_t i) const { return i < inputs.size() ? inputs[i] : nullptr; }
  Value* output(size_t i = 0) const { return i < outputs.size() ? outputs[i] : nullptr; }

  // Typed look-ups; none allocates. The fallback is given when the attribute is absent (or of
  // another type, which the reader has refused for the attributes that an op declares).
  const AttributeValue* Find(std::string_view key) const;
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  int64_t Int(std::string_view key, int64_t fallback) const;
  float Float(std::string_view key, float fallback) const;
  std::string_view String(std::string_view key, std::string_view fallback) const;
  std::span<const int64_t> Ints(std::string_view key) const;  // empty when absent
  std::span<const float> Floats(std::string_view key) const;
  std::span<const std::string> Strings(std::string_view key) const;
  const tensor::Tensor* TensorAttribute(std::string_view key) const;
  Graph* FindSubgraph(std::string_view key) const;

  void Set(std::string_view key, AttributeValue value);  // adds or replaces
  void Remove(std::string_view key);

  Node* next = nullptr;  // in topological order; maintained by Graph
  Node* previous = nullptr;
};

// An output of the graph: the name is the interface's and survives whatever passes do to the value.
struct GraphOutput {
  std::string name;
  Value* value = nullptr;
};

// A graph in SSA form, its nodes in topological order. One owner: the thread that builds it;
// immutable after load.
class Graph {
 public:
  explicit Graph(std::shared_ptr<SymbolTable> symbols);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Building. Names that are taken or empty get a suffix that makes them unique.
  Value* AddInput(std::string_view base, tensor::DType dtype, std::optional<SymShape> shape);
  Value* AddConstant(std::string_view base, std::shared_ptr<const tensor::Tensor> tensor);
  Value* AddConstant(std::string_view base, tensor::Tensor tensor);
  void AddOutput(std::string_view base, Value* value);
  // A new node before `before` (at the end when null) with `output_count` new untyped outputs.
  Node* AddNode(const OpDef* op, int opset, std::vector<Value*> inputs, size_t output_count,
                Node* before = nullptr);
  // One more output of `node`; its name made from `name`. Skip: an optional output that nobody asks
  // for.
  Value* AddNodeOutput(Node* node, std::string_view base);
  void SkipNodeOutput(Node* node);

  // Editing.
  void SetInput(Node* node, size_t index,
                Value* value);  // value may be null; grows the list when needed
  void AddNodeInput(Node* node, Value* value) { SetInput(node, node->inputs.size(), value); }
  void RemoveNodeInput(Node* node, size_t index);
  // Every use of `from`, by nodes and as graph output, becomes one of `to`. Types are the caller's
  // affair.
  void ReplaceUses(Value* from, Value* to);
  // Unlinks a node whose outputs have no uses; its memory stays until the graph is gone.
  void Erase(Node* node);
  // Moves `node` to just before `before`.
  void MoveBefore(Node* node, Node* before);
  // Erases nodes without an effect on the outputs and forgets constants without uses. Returns how
  // many nodes went.
  int64_t RemoveDead();

  // Looking. Nodes() is a snapshot in topological order that stays valid while nodes are erased
  // (see Node::erased).
  std::vector<Node*> Nodes() const;
  Node* first() const { return first_; }
  Node* last() const { return last_; }
  const std::vector<Value*>& inputs() const { return inputs_; }
  std::vector<Value*>& mutable_inputs() { return inputs_; }
  const std::vector<GraphOutput>& outputs() const { return outputs_; }
  std::vector<GraphOutput>& mutable_outputs() { return outputs_; }
  std::vector<Value*> Constants() const;  // those with uses or that are outputs
  bool IsOutput(const Value* value) const;
  bool IsInput(const Value* value) const;
  // Uses by nodes and as graph outputs.
  int64_t UseCount(const Value* value) const;
  Value* FindValue(std::string_view base) const;
  int64_t node_count() const { return node_count_; }
  size_t value_id_limit() const { return values_.size(); }  // every Value::id is below
  SymbolTable& symbols() const { return *symbols_; }
  const std::shared_ptr<SymbolTable>& shared_symbols() const { return symbols_; }

  std::string name;

 private:
  Value* NewValue(std::string_view base);
  std::string UniqueName(std::string_view base);
  void Link(Node* node, Node* before);
  void Unlink(Node* node);

  std::shared_ptr<SymbolTable> symbols_;
  std::vector<std::unique_ptr<Value>> values_;
  std::vector<std::unique_ptr<Node>> nodes_;  // all that ever were
  std::map<std::string, Value*, std::less<>> value_by_name_;
  std::vector<Value*> inputs_;
  std::vector<GraphOutput> outputs_;
  Node* first_ = nullptr;
  Node* last_ = nullptr;
  int64_t node_count_ = 0;
  int64_t next_suffix_ = 0;
};

// A deep copy that shares constants and the symbol table.
std::unique_ptr<Graph> Clone(const Graph& graph);

// kInternal, naming the node or value, when the graph is not in order: a value used before it is
// made or made twice, use lists that disagree with input lists, an untyped value, elements that
// disagree with the shape, a constant whose tensor disagrees with the value's type, subgraphs whose
// inputs do not match the node.
base::Status Verify(const Graph& graph);

// One line a node, in order; for golden tests and explain.
std::string Dump(const Graph& graph);

}  // namespace sluice::graph

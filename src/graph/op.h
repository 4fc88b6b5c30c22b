// What an op means: its row in the registry with type inference and the reference run. Which ops
// there are: ops/*.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "graph/dim.h"
#include "graph/ir.h"
#include "tensor/view.h"

namespace sluice::graph {

// The ONNX opsets whose semantics the registry knows.
inline constexpr int kOpsetMin = 1;
inline constexpr int kOpsetMax = 25;
// The domain of ops that our passes make: fused ops. Never accepted from a file.
inline constexpr std::string_view kOurDomain = "sluice";

// Tells the types of a node's outputs from those of its inputs. Symbolic: an unknown stays unknown
// and is no error.
class InferContext {
 public:
  InferContext(Graph& graph, Node& node) : graph_(graph), node_(node) {}

  const Node& node() const { return node_; }
  Graph& graph() { return graph_; }
  SymbolTable& symbols() { return graph_.symbols(); }

  size_t input_count() const { return node_.inputs.size(); }
  bool has_input(size_t i) const { return node_.input(i) != nullptr; }
  // Of an input that is present.
  tensor::DType dtype(size_t i) const { return node_.inputs[i]->dtype; }
  // Null when the rank is unknown or the input absent.
  const SymShape* shape(size_t i) const;
  // Null when not a constant.
  const tensor::Tensor* constant(size_t i) const;
  // What is known of the elements of an integer input, constant or computed; nullopt when nothing
  // is.
  std::optional<std::vector<Dim>> elements(size_t i) const;
  // The elements of an integer input when all are constants.
  std::optional<std::vector<int64_t>> ints(size_t i) const;

  size_t output_count() const { return node_.outputs.size(); }
  bool has_output(size_t i) const { return node_.output(i) != nullptr; }
  // Does nothing for an output that is not asked for.
  void SetOutput(size_t i, tensor::DType dtype, std::optional<SymShape> shape);
  void SetElements(size_t i, std::vector<Dim> elements);

  // kInvalidArgument that names the node: "node 'x' (Concat): text".
  base::Error Fail(std::string_view text) const;
  Dim Fresh(std::string_view hint) { return symbols().Fresh(hint); }

 private:
  Graph& graph_;
  Node& node_;
};

// What a running op sees. The interpreter allocates what Output asks for; a compiled program checks
// it against its plan and hands out arena memory. Used by one thread.
class RunContext {
 public:
  explicit RunContext(const Node& node) : node_(node) {}
  virtual ~RunContext() = default;

  const Node& node() const { return node_; }
  size_t input_count() const { return inputs_.size(); }
  bool has_input(size_t i) const { return i < inputs_.size() && inputs_[i].data != nullptr; }
  // Packed row-major. Of an absent input: data is null.
  const tensor::ConstView& input(size_t i) const {
    return i < inputs_.size() ? inputs_[i] : absent_;
  }
  std::span<const tensor::ConstView> inputs() const { return inputs_; }
  size_t output_count() const { return node_.outputs.size(); }
  bool has_output(size_t i) const { return node_.output(i) != nullptr; }

  // Uninitialised memory for output i, never null; asked for once. Shapes that depend on data have
  // been bounded by the caller's checks; the byte limit is checked here. Must not be called for
  // outputs that nobody asked for.
  virtual base::Result<tensor::View> Output(size_t i, tensor::DType dtype,
                                            const tensor::Shape& shape) = 0;
  // Output i is input `from` under another shape of as many elements: no copy where the
  // implementation can avoid it.
  virtual base::Status Forward(size_t i, size_t from, const tensor::Shape& shape) = 0;
  // Memory until the node is done, aligned to tensor::kAlignment. A compiled program has planned as
  // much as OpDef::scratch said.
  virtual base::Result<std::byte*> Scratch(int64_t bytes) = 0;
  // Runs a subgraph of the node on `inputs`: control flow only. kUnimplemented in a compiled
  // program.
  virtual base::Result<std::vector<tensor::Tensor>> RunSubgraph(
      const Graph& graph, std::span<const tensor::Tensor> inputs) = 0;
  // Input i as a tensor that shares its bytes, and an output from one: control flow only.
  virtual base::Result<tensor::Tensor> InputTensor(size_t i) = 0;
  virtual base::Status SetOutput(size_t i, tensor::Tensor tensor) = 0;
  // Before each iteration of a Loop or Scan; kResourceExhausted when the run has used up its own.
  virtual base::Status TakeIteration() { return base::Ok(); }
  // Before arithmetic that the sizes of inputs and outputs do not bound: about as many
  // multiply-adds. kResourceExhausted when the run may not make them. A compiled program, which
  // runs what was accepted, takes any.
  virtual base::Status TakeWork(int64_t) { return base::Ok(); }

  // kInvalidArgument that names the node.
  base::Error Fail(std::string_view text) const;

 protected:
  std::span<const tensor::ConstView> inputs_;  // set by the implementation, which keeps them alive
  const Node& node_;

 private:
  tensor::ConstView absent_;
};

// Concrete types and shapes of a node's operands. Absent ones have no data and shape []; the others
// have none either, since nothing has run.
struct RunShapes {
  const Node* node = nullptr;
  std::span<const tensor::ConstView> inputs;
  std::span<const tensor::View> outputs;

  bool has_input(size_t i) const { return i < inputs.size() && node->input(i) != nullptr; }
  bool has_output(size_t i) const { return node->output(i) != nullptr; }
  const tensor::Shape& input_shape(size_t i) const;  // [] when absent
};
// What these pieces of scratch take together, each aligned as Scratch hands them out.
int64_t ScratchBytes(std::initializer_list<int64_t> pieces);

// Properties that passes ask for.
enum OpTraits : uint32_t {
  kNoTraits = 0,
  kElementwise = 1u << 0,  // output element i depends on element i of the (broadcast) inputs alone
  kNotDeterministic = 1u << 1,  // random: never folded or merged
  kControlFlow = 1u << 2,       // carries subgraphs
  kView = 1u << 3,              // the bytes of output 0 are those of input 0
  kTakesStorage = 1u << 4,      // reads and makes tensors of storage types (tensor/dtype.h)
};

// A row of the registry: one op, from opset `since` on until another row of the same name begins.
struct OpDef {
  std::string_view name;
  int since = 1;
  int inputs_min = 0;
  int inputs_max = 0;  // -1: any number
  int outputs_min = 1;
  int outputs_max = 1;  // -1: any number
  uint32_t traits = kNoTraits;
  base::Status (*infer)(InferContext&) = nullptr;
  // Null for rows that only a compiled program can run (fused ops without a reference), which the
  // interpreter refuses.
  base::Status (*run)(RunContext&) = nullptr;
  std::string_view domain = "";  // "" is ONNX's own ("ai.onnx")
  // Bytes that a compiled run asks Scratch for at most, by ScratchBytes; null: none.
  int64_t (*scratch)(const RunShapes&) = nullptr;
};

// The row for `name` at `opset`, or null. Domain "ai.onnx" is "".
const OpDef* FindOp(std::string_view domain, std::string_view name, int opset);
// Our own ops and, for passes, the newest row of a standard op. CHECKs that it exists.
const OpDef* RequireOp(std::string_view name);
// Every row, table by table.
std::vector<const OpDef*> AllOps();

// Types the outputs of one node, or of every node in order (descending into subgraphs). Values keep
// what is proven.
base::Status InferNode(Graph& graph, Node& node);
base::Status InferGraph(Graph& graph);

}  // namespace sluice::graph

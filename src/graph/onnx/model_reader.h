// The state of reading one ONNX model, shared by reader.cc (graphs, functions, nodes) and
// read_sequences.cc (sequences of tensors whose lengths are known meanwhile). Others use reader.h.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/onnx/attributes.h"
#include "graph/onnx/contrib.h"
#include "graph/onnx/node_order.h"
#include "graph/onnx/reader.h"
#include "graph/onnx/sequence_values.h"
#include "graph/onnx/tensor.h"
#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {

using OpsetProtos = google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>;
using Opsets = std::map<std::string, int, std::less<>>;

// Of the bodies of spelled-out operators.
const Opsets& ContribOpsets();
// The shape that the interface declares of the value `name`, and the element type that the
// declaration of `kind` ("input", "output") gives it.
base::Result<std::optional<SymShape>> DeclaredShape(const std::string& name,
                                                    const onnx::TypeProto_Tensor& type,
                                                    SymbolTable& symbols);
base::Result<tensor::DType> DeclaredType(const std::string& name, const onnx::TypeProto& type,
                                         const std::string& kind);

// Names in force while a list of nodes is read. A subgraph's scope sees its parent's names and
// captures what it uses; a function's scope has no parent, only the values that the caller passed.
struct Scope {
  const Scope* parent = nullptr;
  Graph* graph = nullptr;
  std::unordered_map<std::string, Value*> values;
  std::unordered_map<std::string, SequenceElements> sequences;
  const Opsets* opsets = nullptr;
  const AttributeEnvironment* attributes = nullptr;  // of the function that is being inlined
  std::vector<std::pair<Value*, Value*>>* captures =
      nullptr;                                        // outer, inner; in order of first use
  std::unordered_map<const Value*, Value*> captured;  // the same, by the outer
  int64_t depth = 0;
  bool ours = false;  // the body of a spelled-out operator: may hold ops of kOurDomain
  // Whether nodes are typed as they are read. Those of a subgraph wait for the node that carries
  // it.
  bool typed = true;
};

// In place of a length: the output is a tensor.
inline constexpr int64_t kNoSequence = -1;

// Reads one model. Lives for one call of ReadOnnx.
class ModelReader {
 public:
  // `large` are the raw data of initialisers that the message has not.
  ModelReader(const OnnxReadOptions& options, TensorSource& source,
              const std::map<int, std::string_view>& large)
      : options_(options), limits_(options.limits), source_(source), large_(large) {}

  base::Result<OnnxModel> Read(onnx::ModelProto& model);

 private:
  template <class T>
  using Result = base::Result<T>;
  using Status = base::Status;
  using Tensor = tensor::Tensor;
  using FunctionKey = std::pair<std::string, std::string>;

  Result<Opsets> ReadOpsets(const OpsetProtos& imports);
  Status CollectFunctions(const onnx::ModelProto& model);
  Status ReadInitializers(onnx::GraphProto& proto, Scope& scope);
  Status ReadInputs(const onnx::GraphProto& proto, Scope& scope);
  Status ReadNodes(const NodeProtos& nodes, Scope& scope);
  Result<Node*> ReadNode(const onnx::NodeProto& proto,
                         Scope& scope);  // null where it becomes none or many
  Status ReadConstant(const onnx::NodeProto& proto, Scope& scope);
  Status InlineFunction(const onnx::NodeProto& proto, const onnx::FunctionProto& function,
                        Scope& scope);
  Result<bool> InlineContrib(const onnx::NodeProto& proto, const ContribOp& op, Scope& scope);
  Status InlineBody(const onnx::NodeProto& proto, const onnx::FunctionProto& function,
                    const Opsets& opsets, const AttributeEnvironment& environment,
                    const std::vector<Value*>& inputs, Scope& scope);
  // The function's nodes in a scope of their own; what its outputs mean, null
  // where not wanted.
  Result<std::vector<Value*>> ReadFunctionBody(const onnx::FunctionProto& function,
                                               const Opsets& opsets,
                                               const AttributeEnvironment& environment,
                                               const std::vector<Value*>& inputs,
                                               const std::vector<bool>& wanted, Scope& scope);
  // The lengths of the outputs that are sequences in the subgraphs, kNoSequence for others.
  Result<std::vector<int64_t>> ReadSubgraphs(const onnx::NodeProto& proto, Scope& scope,
                                             Node* node);
  Status DefineOutputs(const onnx::NodeProto& proto, const std::vector<int64_t>& lengths,
                       Scope& scope, Node* node);
  // The same of the graph's outputs.
  Result<std::vector<int64_t>> ReadOutputs(const onnx::GraphProto& proto, Scope& scope);
  Result<std::vector<Value*>> ReadNodeInputs(const onnx::NodeProto& proto, Scope& scope);
  Result<Value*> Lookup(const std::string& name, const Scope& scope);
  Status Define(const std::string& name, Value* value, Scope& scope);
  Value* Capture(Value* outer, const std::string& name, Scope& scope);
  Status CheckName(const std::string& name) const;
  Status CheckNode(const onnx::NodeProto& proto);

  // ---- read_sequences.cc ----

  Status ReadSequenceInput(const onnx::ValueInfoProto& info, Scope& scope);
  Status ReadToldInput(const onnx::ValueInfoProto& info, const Tensor& told, Scope& scope);
  // Every input that something was told of is an input, and was in need of it.
  Status CheckTold(const onnx::GraphProto& proto) const;
  // Null where `name` is no sequence.
  const SequenceElements* FindSequence(const std::string& name, Scope& scope);
  Result<Operand> LookupOperand(const std::string& name, Scope& scope);
  Status DefineOperand(const std::string& name, Operand operand, Scope& scope);
  // Whether `proto` was about sequences and is read.
  Result<bool> ReadOverSequences(const onnx::NodeProto& proto, Scope& scope);
  Status UnrollLoop(const onnx::NodeProto& proto, std::vector<Operand> inputs, Scope& scope);
  Status MapSequences(const onnx::NodeProto& proto, const std::vector<Operand>& inputs,
                      Scope& scope);
  // The body's nodes in the graph of `scope`; what its outputs mean.
  Result<std::vector<Operand>> ReadBodyInPlace(const onnx::GraphProto& body,
                                               const std::vector<Operand>& inputs, Scope& scope);

  const OnnxReadOptions& options_;
  const GraphLimits& limits_;
  TensorSource& source_;
  const std::map<int, std::string_view>& large_;
  std::map<FunctionKey, const onnx::FunctionProto*> functions_;
  std::map<const onnx::FunctionProto*, Opsets> function_opsets_;
  int64_t nodes_left_ = 0;
  int64_t elements_left_ = kSequenceElementsMax;
  bool sequences_ = false;  // whether any was met
};

}  // namespace sluice::graph

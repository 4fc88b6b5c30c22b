#include "graph/onnx/reader.h"

#include <sys/mman.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "graph/onnx/attributes.h"
#include "graph/onnx/contrib.h"
#include "graph/onnx/detached_data.h"
#include "graph/onnx/model_reader.h"
#include "graph/onnx/node_order.h"
#include "graph/onnx/sequences.h"
#include "graph/onnx/tensor.h"
#include "graph/op.h"
#include "graph/ops/rules.h"
#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {

using base::Ok;
using base::Result;
using base::Status;
using tensor::Tensor;

namespace {

base::Error Prefix(const std::string& prefix, const base::Error& error) {
  return {error.code, prefix + error.message};
}

// The module that PyTorch's dynamo exporter wrote the node for, as TorchScript's names have it:
// "/blocks.0.attention/node_linear_3". The entry is a Python list of quoted names, outermost
// first, the last the node's own.
std::string ScopedName(const onnx::NodeProto& proto, const GraphLimits& limits) {
  for (const auto& entry : proto.metadata_props()) {
    if (entry.key() != "pkg.torch.onnx.name_scopes") continue;
    const std::string& list = entry.value();
    const size_t end = list.rfind(", '");  // of the innermost module
    if (end == std::string::npos || end < 2 || list[end - 1] != '\'') break;
    const size_t begin = list.rfind('\'', end - 2);
    if (begin == std::string::npos || begin + 2 >= end) break;
    std::string name = "/" + list.substr(begin + 1, end - begin - 2) + "/" + proto.name();
    if (static_cast<int64_t>(name.size()) <= limits.name_bytes_max) return name;
  }
  return proto.name();
}

}  // namespace

const Opsets& ContribOpsets() {
  static const auto* const opsets =
      new Opsets{{"", kContribBodyOpset}, {std::string(kOurDomain), 1}};
  return *opsets;
}

Status ModelReader::CheckName(const std::string& name) const {
  if (static_cast<int64_t>(name.size()) <= limits_.name_bytes_max) return Ok();
  return base::ResourceExhausted("a name of " + std::to_string(name.size()) +
                                 " bytes is above the limit of " +
                                 std::to_string(limits_.name_bytes_max));
}

Status ModelReader::Define(const std::string& name, Value* value, Scope& scope) {
  TRY(CheckName(name));
  if (!scope.values.emplace(name, value).second) {
    return base::InvalidArgument("value '" + name + "' is made twice");
  }
  return Ok();
}

// The value that `name` means in `scope`; what an enclosing graph makes becomes an input of this
// one.
Result<Value*> ModelReader::Lookup(const std::string& name, const Scope& scope) {
  const auto found = scope.values.find(name);
  if (found != scope.values.end()) return found->second;
  if (scope.sequences.count(name) > 0) {
    return base::InvalidArgument("value '" + name + "' is a sequence where a tensor is expected");
  }
  if (scope.parent == nullptr)
    return base::InvalidArgument("value '" + name + "' is read but never made");
  Value* outer = TRY(Lookup(name, *scope.parent));
  // The body of an unrolled loop stands in the graph of its parent.
  if (outer == nullptr || scope.graph == scope.parent->graph) return outer;
  // A capture is remembered under its name; logically the scope is unchanged.
  Scope& changed = const_cast<Scope&>(scope);
  Value* inner = Capture(outer, name, changed);
  changed.values.emplace(name, inner);
  return inner;
}

// What `outer` of the enclosing graph is called in the graph of `scope`.
Value* ModelReader::Capture(Value* outer, const std::string& name, Scope& scope) {
  Value*& inner = scope.captured[outer];
  if (inner != nullptr) return inner;
  if (outer->constant != nullptr) {
    inner = scope.graph->AddConstant(name, outer->constant);
  } else {
    inner = scope.graph->AddInput(name, outer->dtype, outer->shape);
    scope.captures->emplace_back(outer, inner);
  }
  return inner;
}

Result<Opsets> ModelReader::ReadOpsets(const OpsetProtos& imports) {
  Opsets opsets;
  for (const onnx::OperatorSetIdProto& import : imports) {
    const std::string domain = import.domain() == "ai.onnx" ? "" : import.domain();
    if (domain.empty() && (import.version() < kOpsetMin || import.version() > kOpsetMax)) {
      return base::Unimplemented("opset " + std::to_string(import.version()) +
                                 " is not supported; " + std::to_string(kOpsetMin) + " to " +
                                 std::to_string(kOpsetMax) + " are");
    }
    if (import.version() < 0 || import.version() > INT32_MAX)
      return base::InvalidArgument("an opset is out of range");
    // Some exporters say the same twice.
    const auto version = static_cast<int>(import.version());
    if (opsets.emplace(domain, version).first->second != version) {
      return base::InvalidArgument("opset domain '" + domain + "' is imported in two versions");
    }
  }
  return opsets;
}

Status ModelReader::CollectFunctions(const onnx::ModelProto& model) {
  for (const onnx::FunctionProto& function : model.functions()) {
    if (!functions_.emplace(FunctionKey(function.domain(), function.name()), &function).second) {
      return base::InvalidArgument("function '" + function.name() + "' is defined twice");
    }
    Result<Opsets> opsets = ReadOpsets(function.opset_import());
    if (!opsets.ok()) return Prefix("function '" + function.name() + "': ", opsets.error());
    function_opsets_.emplace(&function, *std::move(opsets));
  }
  return Ok();
}

Status ModelReader::ReadInitializers(onnx::GraphProto& proto, Scope& scope) {
  if (proto.sparse_initializer_size() > 0) {
    return base::Unimplemented("sparse initializer '" +
                               proto.sparse_initializer(0).values().name() + "' is not supported");
  }
  // The data that were taken out are of the outermost graph alone.
  static const std::map<int, std::string_view> kNone;
  const std::map<int, std::string_view>& large = scope.parent == nullptr ? large_ : kNone;
  for (int i = 0; i < proto.initializer_size(); ++i) {
    onnx::TensorProto& initializer = *proto.mutable_initializer(i);
    if (initializer.name().empty()) return base::InvalidArgument("an initializer has no name");
    const auto detached = large.find(i);
    Tensor tensor = detached == large.end()
                        ? TRY(TensorFromProto(initializer, source_))
                        : TRY(TensorFromParts(initializer, detached->second, source_));
    // The weights would otherwise be held twice until the model is read.
    delete initializer.release_raw_data();
    TRY(Define(initializer.name(), scope.graph->AddConstant(initializer.name(), std::move(tensor)),
               scope));
  }
  return Ok();
}

// An extent without a name gets the input's and the axis's: request by request it is known like any
// other.
Result<std::optional<SymShape>> DeclaredShape(const std::string& name,
                                              const onnx::TypeProto_Tensor& type,
                                              SymbolTable& symbols) {
  if (!type.has_shape()) return std::optional<SymShape>();
  if (type.shape().dim_size() > tensor::kMaxRank) {
    return base::InvalidArgument("input '" + name + "' has rank " +
                                 std::to_string(type.shape().dim_size()) + ", above the limit of " +
                                 std::to_string(tensor::kMaxRank));
  }
  SymShape shape;
  for (const onnx::TensorShapeProto_Dimension& dim : type.shape().dim()) {
    // Some exporters write -1 for an extent that they do not know.
    if (dim.has_dim_value() && dim.dim_value() >= 0) {
      shape.emplace_back(dim.dim_value());
    } else if (dim.has_dim_param() && !dim.dim_param().empty()) {
      shape.push_back(symbols.Symbol(dim.dim_param()));
    } else {
      shape.push_back(symbols.Symbol(name + "." + std::to_string(shape.size())));
    }
  }
  return std::optional<SymShape>(std::move(shape));
}

Result<tensor::DType> DeclaredType(const std::string& name, const onnx::TypeProto& type,
                                   const std::string& kind) {
  if (!type.has_tensor_type()) {
    return base::Unimplemented(kind + " '" + name + "' is not a tensor");
  }
  const std::optional<tensor::DType> dtype = DTypeFromOnnx(type.tensor_type().elem_type());
  if (!dtype.has_value()) {
    return base::Unimplemented(kind + " '" + name + "' has the element type " +
                               std::to_string(type.tensor_type().elem_type()) +
                               ", which is not supported");
  }
  return *dtype;
}

Status ModelReader::ReadInputs(const onnx::GraphProto& proto, Scope& scope) {
  std::unordered_set<std::string> seen;
  for (const onnx::ValueInfoProto& info : proto.input()) {
    TRY(CheckName(info.name()));
    if (info.name().empty()) return base::InvalidArgument("an input has no name");
    if (!seen.insert(info.name()).second)
      return base::InvalidArgument("input '" + info.name() + "' is listed twice");
    // An input with an initializer could be overridden by old rules; here it is the constant.
    if (scope.values.count(info.name()) > 0) continue;
    if (scope.parent != nullptr) {
      // The types of a subgraph's inputs follow from the node that carries it.
      TRY(Define(info.name(), scope.graph->AddInput(info.name(), tensor::DType::kF32, std::nullopt),
                 scope));
      continue;
    }
    const auto told = options_.known_inputs.find(info.name());
    if (told != options_.known_inputs.end()) {
      TRY(ReadToldInput(info, told->second, scope));
      continue;
    }
    if (info.type().has_sequence_type()) {
      TRY(ReadSequenceInput(info, scope));
      continue;
    }
    const tensor::DType dtype = TRY(DeclaredType(info.name(), info.type(), "input"));
    std::optional<SymShape> shape =
        TRY(DeclaredShape(info.name(), info.type().tensor_type(), scope.graph->symbols()));
    TRY(Define(info.name(), scope.graph->AddInput(info.name(), dtype, std::move(shape)), scope));
  }
  return Ok();
}

Status ModelReader::CheckNode(const onnx::NodeProto& proto) {
  if (nodes_left_-- <= 0) {
    return base::ResourceExhausted("the model has more than " + std::to_string(limits_.nodes_max) +
                                   " nodes");
  }
  TRY(CheckName(proto.name()));
  TRY(CheckName(proto.op_type()));
  if (proto.input_size() > limits_.inputs_per_node_max ||
      proto.output_size() > limits_.inputs_per_node_max) {
    return base::ResourceExhausted("more inputs or outputs than the limit of " +
                                   std::to_string(limits_.inputs_per_node_max));
  }
  if (proto.attribute_size() > limits_.attributes_per_node_max) {
    return base::ResourceExhausted("more attributes than the limit of " +
                                   std::to_string(limits_.attributes_per_node_max));
  }
  return Ok();
}

Status ModelReader::ReadNodes(const NodeProtos& nodes, Scope& scope) {
  const std::vector<const onnx::NodeProto*> order =
      TRY(OrderNodes(nodes, [&scope](const std::string& name) {
        return scope.values.count(name) > 0 || scope.sequences.count(name) > 0;
      }));
  for (const onnx::NodeProto* node : order) {
    const Result<Node*> read = ReadNode(*node, scope);
    if (!read.ok()) return Prefix(Describe(*node), read.error());
    if (*read != nullptr && scope.typed) TRY(InferNode(*scope.graph, **read));
  }
  return Ok();
}

Result<std::vector<Value*>> ModelReader::ReadNodeInputs(const onnx::NodeProto& proto,
                                                        Scope& scope) {
  std::vector<Value*> inputs;
  for (const std::string& name : proto.input()) {
    inputs.push_back(name.empty() ? nullptr : TRY(Lookup(name, scope)));
  }
  return inputs;
}

Result<Node*> ModelReader::ReadNode(const onnx::NodeProto& proto, Scope& scope) {
  TRY(CheckNode(proto));
  const std::string domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
  if (domain.empty() && TRY(ReadOverSequences(proto, scope))) return static_cast<Node*>(nullptr);
  const auto function = functions_.find({proto.domain(), proto.op_type()});
  if (function != functions_.end()) {
    TRY(InlineFunction(proto, *function->second, scope));
    return static_cast<Node*>(nullptr);
  }
  const auto opset = scope.opsets->find(domain);
  // Not every tool of ONNX Runtime's imports the domain whose operators it writes.
  const int version = opset == scope.opsets->end() ? 1 : opset->second;
  if (const ContribOp* spelled = FindContrib(domain, proto.op_type(), version)) {
    if (TRY(InlineContrib(proto, *spelled, scope))) return static_cast<Node*>(nullptr);
  }
  if (opset == scope.opsets->end())
    return base::InvalidArgument("domain '" + domain + "' is not imported");
  if (domain == "com.microsoft.nchwc") {
    return base::Unimplemented(
        "the model was optimised for one machine's layout (domain com.microsoft.nchwc): save it "
        "with ORT_ENABLE_EXTENDED at most");
  }
  const OpDef* op = domain == kOurDomain && !scope.ours
                        ? nullptr
                        : FindOp(domain, proto.op_type(), opset->second);
  if (op == nullptr) {
    return base::Unimplemented("op " + proto.op_type() + " of " +
                               (domain.empty() ? "ONNX" : "domain '" + domain + "'") + " opset " +
                               std::to_string(opset->second) + " is not supported");
  }
  if (op->name == "Constant") {
    TRY(ReadConstant(proto, scope));
    return static_cast<Node*>(nullptr);
  }
  std::vector<Value*> inputs = TRY(ReadNodeInputs(proto, scope));
  // Trailing optional inputs may be named empty or left out: the same.
  while (static_cast<int>(inputs.size()) > op->inputs_min && inputs.back() == nullptr &&
         (op->traits & kControlFlow) == 0) {
    inputs.pop_back();
  }
  Node* node = scope.graph->AddNode(op, opset->second, std::move(inputs), 0);
  node->name = ScopedName(proto, limits_);
  TRY(ReadAttributes(proto, scope.attributes, source_, node));
  const std::vector<int64_t> lengths = TRY(ReadSubgraphs(proto, scope, node));
  TRY(DefineOutputs(proto, lengths, scope, node));
  return node;
}

Status ModelReader::DefineOutputs(const onnx::NodeProto& proto, const std::vector<int64_t>& lengths,
                                  Scope& scope, Node* node) {
  int outputs = proto.output_size();
  while (outputs > 0 && proto.output(outputs - 1).empty()) --outputs;
  for (int i = 0; i < outputs; ++i) {
    const std::string& name = proto.output(i);
    const auto at = static_cast<size_t>(i);
    const int64_t length = at < lengths.size() ? lengths[at] : kNoSequence;
    if (length != kNoSequence) {
      SequenceElements elements;
      for (int64_t e = 0; e < length; ++e) {
        elements.push_back(scope.graph->AddNodeOutput(node, name + "." + std::to_string(e)));
      }
      TRY(DefineOperand(name, {nullptr, std::move(elements)}, scope));
    } else if (name.empty()) {
      scope.graph->SkipNodeOutput(node);
    } else {
      TRY(Define(name, scope.graph->AddNodeOutput(node, name), scope));
    }
  }
  return Ok();
}

Status ModelReader::ReadConstant(const onnx::NodeProto& proto, Scope& scope) {
  if (proto.output_size() != 1 || proto.input_size() != 0) {
    return base::InvalidArgument("a Constant has one output and no inputs");
  }
  Tensor value = TRY(ReadConstantValue(proto, scope.attributes, source_));
  return Define(proto.output(0), scope.graph->AddConstant(proto.output(0), std::move(value)),
                scope);
}

// The function's nodes take the place of the call, in a scope of their own.
Status ModelReader::InlineFunction(const onnx::NodeProto& proto,
                                   const onnx::FunctionProto& function, Scope& scope) {
  if (scope.depth >= limits_.nesting_max) {
    return base::ResourceExhausted("functions are nested deeper than " +
                                   std::to_string(limits_.nesting_max));
  }
  if (proto.input_size() > function.input_size() || proto.output_size() > function.output_size()) {
    return base::InvalidArgument("the call has more inputs or outputs than the function");
  }
  const AttributeEnvironment environment = TRY(CallEnvironment(proto, function, scope.attributes));
  const std::vector<Value*> inputs = TRY(ReadNodeInputs(proto, scope));
  return InlineBody(proto, function, function_opsets_.at(&function), environment, inputs, scope);
}

// An operator spelled out in others; false where this node is not.
Result<bool> ModelReader::InlineContrib(const onnx::NodeProto& proto, const ContribOp& op,
                                        Scope& scope) {
  const std::vector<Value*> inputs = TRY(ReadNodeInputs(proto, scope));
  const onnx::NodeProto resolved = TRY(ResolveAttributes(proto, scope.attributes));
  if (!ContribApplies(op, resolved, inputs)) return false;
  const onnx::FunctionProto body = TRY(ExpandContrib(op, resolved, inputs));
  TRY(InlineBody(proto, body, ContribOpsets(), {}, inputs, scope));
  return true;
}

// The body's nodes in a scope of their own, between the inputs and outputs of `proto`.
Status ModelReader::InlineBody(const onnx::NodeProto& proto, const onnx::FunctionProto& function,
                               const Opsets& opsets, const AttributeEnvironment& environment,
                               const std::vector<Value*>& inputs, Scope& scope) {
  std::vector<bool> wanted;
  for (const std::string& output : proto.output()) wanted.push_back(!output.empty());
  const std::vector<Value*> outputs =
      TRY(ReadFunctionBody(function, opsets, environment, inputs, wanted, scope));
  for (int i = 0; i < proto.output_size(); ++i) {
    if (!proto.output(i).empty()) {
      TRY(Define(proto.output(i), outputs[static_cast<size_t>(i)], scope));
    }
  }
  return Ok();
}

Result<std::vector<Value*>> ModelReader::ReadFunctionBody(const onnx::FunctionProto& function,
                                                          const Opsets& opsets,
                                                          const AttributeEnvironment& environment,
                                                          const std::vector<Value*>& inputs,
                                                          const std::vector<bool>& wanted,
                                                          Scope& scope) {
  Scope inner;
  inner.graph = scope.graph;
  inner.opsets = &opsets;
  inner.attributes = &environment;
  inner.ours = &opsets == &ContribOpsets();
  inner.depth = scope.depth + 1;
  inner.typed = scope.typed;
  for (int i = 0; i < function.input_size(); ++i) {
    Value* value =
        static_cast<size_t>(i) < inputs.size() ? inputs[static_cast<size_t>(i)] : nullptr;
    // An absent optional input stays absent wherever the body passes it on.
    if (!inner.values.emplace(function.input(i), value).second) {
      return base::InvalidArgument("the function lists input '" + function.input(i) + "' twice");
    }
  }
  TRY(ReadNodes(function.node(), inner));
  std::vector<Value*> outputs;
  for (size_t i = 0; i < wanted.size(); ++i) {
    Value* value = nullptr;
    if (wanted[i]) {
      value = TRY(Lookup(function.output(static_cast<int>(i)), inner));
      if (value == nullptr) return base::InvalidArgument("the function returns an absent input");
    }
    outputs.push_back(value);
  }
  return outputs;
}

namespace {

// Sequences that subgraphs hand on: alike in both branches of an If, and of nothing else.
Status CheckBranches(const Node& node, const std::vector<int64_t>& before,
                     const std::vector<int64_t>& lengths) {
  if (!node.Is("If")) {
    const bool any = std::any_of(lengths.begin(), lengths.end(),
                                 [](int64_t length) { return length != kNoSequence; });
    return any ? base::Unimplemented("a sequence of a subgraph is not supported") : Ok();
  }
  if (node.subgraphs.empty() || before == lengths) return Ok();
  return base::Unimplemented("the branches must hand on sequences of the same lengths");
}

}  // namespace

Result<std::vector<int64_t>> ModelReader::ReadSubgraphs(const onnx::NodeProto& proto, Scope& scope,
                                                        Node* node) {
  std::vector<int64_t> lengths;
  // Per subgraph: what it captured, and how many inputs are its own.
  std::vector<std::vector<std::pair<Value*, Value*>>> captures;
  std::vector<size_t> formal_counts;
  for (const onnx::AttributeProto& attribute : proto.attribute()) {
    if (attribute.type() != onnx::AttributeProto::GRAPH) continue;
    if ((node->op->traits & kControlFlow) == 0) {
      return base::InvalidArgument("attribute '" + attribute.name() + "' must not be a graph");
    }
    if (scope.depth >= limits_.nesting_max) {
      return base::ResourceExhausted("subgraphs are nested deeper than " +
                                     std::to_string(limits_.nesting_max));
    }
    if (node->FindSubgraph(attribute.name()) != nullptr) {
      return base::InvalidArgument("attribute '" + attribute.name() + "' is listed twice");
    }
    auto graph = std::make_unique<Graph>(scope.graph->shared_symbols());
    graph->name = attribute.name();
    captures.emplace_back();
    Scope inner;
    inner.parent = &scope;
    inner.graph = graph.get();
    inner.opsets = scope.opsets;
    inner.attributes = scope.attributes;
    inner.captures = &captures.back();
    inner.depth = scope.depth + 1;
    inner.typed = false;
    onnx::GraphProto body = attribute.g();
    TRY(ReadInitializers(body, inner));
    TRY(ReadInputs(body, inner));
    formal_counts.push_back(graph->inputs().size());
    TRY(ReadNodes(body.node(), inner));
    std::vector<int64_t> made = TRY(ReadOutputs(body, inner));
    TRY(CheckBranches(*node, lengths, made));
    lengths = std::move(made);
    node->subgraphs.push_back({attribute.name(), std::move(graph)});
  }
  std::vector<Value*> all;
  for (const auto& list : captures) {
    for (const auto& [outer, inner] : list) {
      if (std::find(all.begin(), all.end(), outer) == all.end()) all.push_back(outer);
    }
  }
  // From here on every subgraph ends with all captures of the node, in one order.
  for (size_t s = 0; s < node->subgraphs.size(); ++s) {
    Graph& graph = *node->subgraphs[s].graph;
    std::vector<Value*> inputs(graph.inputs().begin(),
                               graph.inputs().begin() + static_cast<int64_t>(formal_counts[s]));
    for (Value* outer : all) {
      const auto found = std::find_if(captures[s].begin(), captures[s].end(),
                                      [outer](const auto& pair) { return pair.first == outer; });
      inputs.push_back(found != captures[s].end()
                           ? found->second
                           : graph.AddInput(outer->name, outer->dtype, outer->shape));
    }
    graph.mutable_inputs() = std::move(inputs);
  }
  for (Value* outer : all) scope.graph->AddNodeInput(node, outer);
  node->captures = static_cast<int>(all.size());
  return lengths;
}

Result<std::vector<int64_t>> ModelReader::ReadOutputs(const onnx::GraphProto& proto, Scope& scope) {
  std::unordered_set<std::string> seen;
  std::vector<int64_t> lengths;
  for (const onnx::ValueInfoProto& info : proto.output()) {
    if (!seen.insert(info.name()).second && scope.parent == nullptr) {
      return base::InvalidArgument("output '" + info.name() + "' is listed twice");
    }
    const Operand operand = TRY(LookupOperand(info.name(), scope));
    if (operand.elements.has_value()) {
      for (size_t i = 0; i < operand.elements->size(); ++i) {
        const std::string name = info.name() + "." + std::to_string(i);
        if (!seen.insert(name).second && scope.parent == nullptr)
          return base::InvalidArgument("output '" + name + "' is listed twice");
        scope.graph->AddOutput(name, (*operand.elements)[i]);
      }
      lengths.push_back(static_cast<int64_t>(operand.elements->size()));
      continue;
    }
    if (operand.value == nullptr)
      return base::InvalidArgument("output '" + info.name() + "' is an absent value");
    scope.graph->AddOutput(info.name(), operand.value);
    lengths.push_back(kNoSequence);
  }
  return lengths;
}

namespace {

// The declared types of the outputs against the inferred ones: a model that lies about its
// interface is refused. `lengths` are those of outputs that are sequences.
Status CheckOutputs(const onnx::GraphProto& proto, const Graph& graph,
                    const std::vector<int64_t>& lengths) {
  size_t at = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const onnx::ValueInfoProto& info = proto.output(static_cast<int>(i));
    const bool sequence = lengths[i] != kNoSequence;
    const size_t end = at + static_cast<size_t>(sequence ? lengths[i] : 1);
    for (; at < end; ++at) {
      if (!info.has_type()) continue;
      const Value& value = *graph.outputs()[at].value;
      const onnx::TypeProto& type =
          sequence ? info.type().sequence_type().elem_type() : info.type();
      const tensor::DType declared = TRY(DeclaredType(info.name(), type, "output"));
      if (declared == value.dtype) continue;
      return base::InvalidArgument("output '" + info.name() + "' is declared as " +
                                   std::string(tensor::DTypeName(declared)) + " but is " +
                                   std::string(tensor::DTypeName(value.dtype)));
    }
  }
  return Ok();
}

}  // namespace

Result<OnnxModel> ModelReader::Read(onnx::ModelProto& model) {
  if (!model.has_graph()) return base::InvalidArgument("the file holds no graph");
  nodes_left_ = limits_.nodes_max;
  const Opsets opsets = TRY(ReadOpsets(model.opset_import()));
  TRY(CollectFunctions(model));
  OnnxModel result;
  result.producer = model.producer_name() +
                    (model.producer_version().empty() ? "" : " " + model.producer_version());
  result.ir_version = model.ir_version();
  const auto standard = opsets.find("");
  result.opset = standard != opsets.end() ? standard->second : 0;
  result.graph = std::make_unique<Graph>(std::make_shared<SymbolTable>());
  result.graph->name = model.graph().name();
  Scope scope;
  scope.graph = result.graph.get();
  scope.opsets = &opsets;
  RewriteSequences(*model.mutable_graph(), result.opset);
  TRY(CheckTold(model.graph()));
  TRY(ReadInitializers(*model.mutable_graph(), scope));
  TRY(ReadInputs(model.graph(), scope));
  TRY(ReadNodes(model.graph().node(), scope));
  const std::vector<int64_t> lengths = TRY(ReadOutputs(model.graph(), scope));
  TRY(CheckOutputs(model.graph(), *result.graph, lengths));
  TRY(Verify(*result.graph));
  return result;
}

namespace {

// `file` owns the bytes, or is null where they may go when they are read.
Result<OnnxModel> ReadBytes(std::string_view bytes, std::shared_ptr<const void> file,
                            const base::FileHandle* folder, const OnnxReadOptions& options) {
  if (static_cast<int64_t>(bytes.size()) > std::min<int64_t>(options.file_bytes_max, INT32_MAX)) {
    return base::ResourceExhausted("the model has " + std::to_string(bytes.size()) +
                                   " bytes, above the limit of " +
                                   std::to_string(options.file_bytes_max));
  }
  DetachedData detached;
  if (std::optional<DetachedData> found = DetachLargeData(bytes)) {
    detached = *std::move(found);
    bytes = detached.rest;
  }
  onnx::ModelProto model;
  if (!model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return base::InvalidArgument("not an ONNX model: the protocol buffer cannot be parsed");
  }
  TensorSource source(folder, options.limits, std::move(file));
  return ModelReader(options, source, detached.large).Read(model);
}

}  // namespace

Result<std::vector<OnnxInput>> ListOnnxInputs(std::string_view bytes) {
  onnx::ModelProto model;
  if (bytes.size() > INT32_MAX ||
      !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return base::InvalidArgument("not an ONNX model: the protocol buffer cannot be parsed");
  }
  std::unordered_set<std::string> constants;
  for (const onnx::TensorProto& tensor : model.graph().initializer()) {
    constants.insert(tensor.name());
  }
  std::vector<OnnxInput> inputs;
  for (const onnx::ValueInfoProto& info : model.graph().input()) {
    if (constants.count(info.name()) > 0) continue;
    inputs.push_back({info.name(), info.type().has_sequence_type()});
  }
  return inputs;
}

Result<OnnxModel> ReadOnnx(std::string_view bytes, const base::FileHandle* folder,
                           const OnnxReadOptions& options) {
  return ReadBytes(bytes, nullptr, folder, options);
}

Result<OnnxModel> ReadOnnxFile(const std::string& path, const OnnxReadOptions& options) {
  auto mapped = std::make_shared<const base::MappedFile>(TRY(base::MappedFile::Open(path)));
  const base::MappedFile& file = *mapped;
  const size_t slash = path.rfind('/');
  const std::string folder_path =
      slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
  const base::FileHandle folder = TRY(base::OpenFolder(folder_path));
  // All at once instead of page by page; a kernel that cannot, reads as it goes.
  if (file.size() > 0) {
    (void)madvise(const_cast<std::byte*>(file.data()), static_cast<size_t>(file.size()),
                  MADV_POPULATE_READ);
  }
  const std::string_view bytes(reinterpret_cast<const char*>(file.data()),
                               static_cast<size_t>(file.size()));
  Result<OnnxModel> model = ReadBytes(bytes, std::move(mapped), &folder, options);
  if (!model.ok()) return Prefix(path + ": ", model.error());
  return model;
}

}  // namespace sluice::graph

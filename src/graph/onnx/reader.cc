#include "graph/onnx/reader.h"

#include <sys/mman.h>

#include <algorithm>
#include <queue>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "graph/onnx/attributes.h"
#include "graph/onnx/contrib.h"
#include "graph/onnx/detached_data.h"
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

using NodeProtos = google::protobuf::RepeatedPtrField<onnx::NodeProto>;
using OpsetProtos = google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>;
using Opsets = std::map<std::string, int, std::less<>>;

// Names in force while a list of nodes is read. A subgraph's scope sees its parent's names and
// captures what it uses; a function's scope has no parent, only the values that the caller passed.
struct Scope {
  const Scope* parent = nullptr;
  Graph* graph = nullptr;
  std::unordered_map<std::string, Value*> values;
  const Opsets* opsets = nullptr;
  const AttributeEnvironment* attributes = nullptr;  // of the function that is being inlined
  std::vector<std::pair<Value*, Value*>>* captures =
      nullptr;  // outer, inner; in order of first use
  int64_t depth = 0;
  bool ours = false;  // the body of a spelled-out operator: may hold ops of kOurDomain
  // Whether nodes are typed as they are read. Those of a subgraph wait for the node that carries
  // it.
  bool typed = true;
};

std::string Describe(const onnx::NodeProto& node) {
  return "node '" + node.name() + "' (" + node.op_type() + "): ";
}

base::Error Prefix(const std::string& prefix, const base::Error& error) {
  return {error.code, prefix + error.message};
}

// Of the bodies of spelled-out operators.
const Opsets& ContribOpsets() {
  static const auto* const opsets =
      new Opsets{{"", kContribBodyOpset}, {std::string(kOurDomain), 1}};
  return *opsets;
}

class Reader {
 public:
  // `large` are the raw data of initialisers that the message has not.
  Reader(const OnnxReadOptions& options, TensorSource& source,
         const std::map<int, std::string_view>& large)
      : limits_(options.limits), source_(source), large_(large) {}

  Result<OnnxModel> Read(onnx::ModelProto& model);

 private:
  using FunctionKey = std::pair<std::string, std::string>;

  Result<Opsets> ReadOpsets(const OpsetProtos& imports);
  Status CollectFunctions(const onnx::ModelProto& model);
  Status ReadInitializers(onnx::GraphProto& proto, Scope& scope);
  Status ReadInputs(const onnx::GraphProto& proto, Scope& scope);
  Status ReadNodes(const NodeProtos& nodes, Scope& scope);
  Result<std::vector<const onnx::NodeProto*>> SortNodes(const NodeProtos& nodes,
                                                        const Scope& scope);
  Result<Node*> ReadNode(const onnx::NodeProto& proto,
                         Scope& scope);  // null where it becomes none or many
  Status ReadConstant(const onnx::NodeProto& proto, Scope& scope);
  Status InlineFunction(const onnx::NodeProto& proto, const onnx::FunctionProto& function,
                        Scope& scope);
  Result<bool> InlineContrib(const onnx::NodeProto& proto, const ContribOp& op, Scope& scope);
  Status InlineBody(const onnx::NodeProto& proto, const onnx::FunctionProto& function,
                    const Opsets& opsets, const AttributeEnvironment& environment,
                    const std::vector<Value*>& inputs, Scope& scope);
  Status ReadSubgraphs(const onnx::NodeProto& proto, Scope& scope, Node* node);
  Status ReadOutputs(const onnx::GraphProto& proto, Scope& scope);
  Result<std::vector<Value*>> ReadNodeInputs(const onnx::NodeProto& proto, Scope& scope);
  Result<Value*> Lookup(const std::string& name, const Scope& scope);
  Status Define(const std::string& name, Value* value, Scope& scope);
  Status CheckName(const std::string& name) const;
  Status CheckNode(const onnx::NodeProto& proto);

  const GraphLimits& limits_;
  TensorSource& source_;
  const std::map<int, std::string_view>& large_;
  std::map<FunctionKey, const onnx::FunctionProto*> functions_;
  std::map<const onnx::FunctionProto*, Opsets> function_opsets_;
  int64_t nodes_left_ = 0;
};

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

Status Reader::CheckName(const std::string& name) const {
  if (static_cast<int64_t>(name.size()) <= limits_.name_bytes_max) return Ok();
  return base::ResourceExhausted("a name of " + std::to_string(name.size()) +
                                 " bytes is above the limit of " +
                                 std::to_string(limits_.name_bytes_max));
}

Status Reader::Define(const std::string& name, Value* value, Scope& scope) {
  TRY(CheckName(name));
  if (!scope.values.emplace(name, value).second) {
    return base::InvalidArgument("value '" + name + "' is made twice");
  }
  return Ok();
}

// The value that `name` means in `scope`; what an enclosing graph makes becomes an input of this
// one.
Result<Value*> Reader::Lookup(const std::string& name, const Scope& scope) {
  const auto found = scope.values.find(name);
  if (found != scope.values.end()) return found->second;
  if (scope.parent == nullptr)
    return base::InvalidArgument("value '" + name + "' is read but never made");
  Value* outer = TRY(Lookup(name, *scope.parent));
  if (outer == nullptr) return outer;
  Value* inner = nullptr;
  if (outer->constant != nullptr) {
    inner = scope.graph->AddConstant(name, outer->constant);
  } else {
    inner = scope.graph->AddInput(name, outer->dtype, outer->shape);
    scope.captures->emplace_back(outer, inner);
  }
  // A capture is remembered under its name; logically the scope is unchanged.
  const_cast<Scope&>(scope).values.emplace(name, inner);
  return inner;
}

Result<Opsets> Reader::ReadOpsets(const OpsetProtos& imports) {
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

Status Reader::CollectFunctions(const onnx::ModelProto& model) {
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

Status Reader::ReadInitializers(onnx::GraphProto& proto, Scope& scope) {
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

// The shape that the interface declares. An extent without a name gets the input's and the axis's:
// request by request it is known like any other.
Result<std::optional<SymShape>> DeclaredShape(const onnx::ValueInfoProto& info,
                                              SymbolTable& symbols) {
  const onnx::TypeProto_Tensor& type = info.type().tensor_type();
  if (!type.has_shape()) return std::optional<SymShape>();
  if (type.shape().dim_size() > tensor::kMaxRank) {
    return base::InvalidArgument("input '" + info.name() + "' has rank " +
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
      shape.push_back(symbols.Symbol(info.name() + "." + std::to_string(shape.size())));
    }
  }
  return std::optional<SymShape>(std::move(shape));
}

Result<tensor::DType> DeclaredType(const onnx::ValueInfoProto& info, const std::string& kind) {
  if (!info.type().has_tensor_type()) {
    return base::Unimplemented(kind + " '" + info.name() + "' is not a tensor");
  }
  const std::optional<tensor::DType> dtype = DTypeFromOnnx(info.type().tensor_type().elem_type());
  if (!dtype.has_value()) {
    return base::Unimplemented(kind + " '" + info.name() + "' has the element type " +
                               std::to_string(info.type().tensor_type().elem_type()) +
                               ", which is not supported");
  }
  return *dtype;
}

Status Reader::ReadInputs(const onnx::GraphProto& proto, Scope& scope) {
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
    const tensor::DType dtype = TRY(DeclaredType(info, "input"));
    std::optional<SymShape> shape = TRY(DeclaredShape(info, scope.graph->symbols()));
    TRY(Define(info.name(), scope.graph->AddInput(info.name(), dtype, std::move(shape)), scope));
  }
  return Ok();
}

// Every name that a node reads, also inside its subgraphs (names made there as well: harmless for
// ordering).
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

// Nodes in an order in which every value is made before it is read: the file's own where that is
// one.
Result<std::vector<const onnx::NodeProto*>> Reader::SortNodes(const NodeProtos& nodes,
                                                              const Scope& scope) {
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
      if (found != maker.end() && !own && scope.values.count(*name) == 0)
        makers.insert(found->second);
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

Status Reader::CheckNode(const onnx::NodeProto& proto) {
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

Status Reader::ReadNodes(const NodeProtos& nodes, Scope& scope) {
  const std::vector<const onnx::NodeProto*> order = TRY(SortNodes(nodes, scope));
  for (const onnx::NodeProto* node : order) {
    const Result<Node*> read = ReadNode(*node, scope);
    if (!read.ok()) return Prefix(Describe(*node), read.error());
    if (*read != nullptr && scope.typed) TRY(InferNode(*scope.graph, **read));
  }
  return Ok();
}

Result<std::vector<Value*>> Reader::ReadNodeInputs(const onnx::NodeProto& proto, Scope& scope) {
  std::vector<Value*> inputs;
  for (const std::string& name : proto.input()) {
    inputs.push_back(name.empty() ? nullptr : TRY(Lookup(name, scope)));
  }
  return inputs;
}

Result<Node*> Reader::ReadNode(const onnx::NodeProto& proto, Scope& scope) {
  TRY(CheckNode(proto));
  const std::string domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
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
  TRY(ReadSubgraphs(proto, scope, node));
  int outputs = proto.output_size();
  while (outputs > 0 && proto.output(outputs - 1).empty()) --outputs;
  for (int i = 0; i < outputs; ++i) {
    if (proto.output(i).empty()) {
      scope.graph->SkipNodeOutput(node);
      continue;
    }
    TRY(Define(proto.output(i), scope.graph->AddNodeOutput(node, proto.output(i)), scope));
  }
  return node;
}

Status Reader::ReadConstant(const onnx::NodeProto& proto, Scope& scope) {
  if (proto.output_size() != 1 || proto.input_size() != 0) {
    return base::InvalidArgument("a Constant has one output and no inputs");
  }
  Tensor value = TRY(ReadConstantValue(proto, scope.attributes, source_));
  return Define(proto.output(0), scope.graph->AddConstant(proto.output(0), std::move(value)),
                scope);
}

// The function's nodes take the place of the call, in a scope of their own.
Status Reader::InlineFunction(const onnx::NodeProto& proto, const onnx::FunctionProto& function,
                              Scope& scope) {
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
Result<bool> Reader::InlineContrib(const onnx::NodeProto& proto, const ContribOp& op,
                                   Scope& scope) {
  const std::vector<Value*> inputs = TRY(ReadNodeInputs(proto, scope));
  const onnx::NodeProto resolved = TRY(ResolveAttributes(proto, scope.attributes));
  if (!ContribApplies(op, resolved, inputs)) return false;
  const onnx::FunctionProto body = TRY(ExpandContrib(op, resolved, inputs));
  TRY(InlineBody(proto, body, ContribOpsets(), {}, inputs, scope));
  return true;
}

// The body's nodes in a scope of their own, between the inputs and outputs of `proto`.
Status Reader::InlineBody(const onnx::NodeProto& proto, const onnx::FunctionProto& function,
                          const Opsets& opsets, const AttributeEnvironment& environment,
                          const std::vector<Value*>& inputs, Scope& scope) {
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
  for (int i = 0; i < proto.output_size(); ++i) {
    if (proto.output(i).empty()) continue;
    Value* value = TRY(Lookup(function.output(i), inner));
    if (value == nullptr) return base::InvalidArgument("the function returns an absent input");
    TRY(Define(proto.output(i), value, scope));
  }
  return Ok();
}

Status Reader::ReadSubgraphs(const onnx::NodeProto& proto, Scope& scope, Node* node) {
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
    TRY(ReadOutputs(body, inner));
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
  return Ok();
}

Status Reader::ReadOutputs(const onnx::GraphProto& proto, Scope& scope) {
  std::unordered_set<std::string> seen;
  for (const onnx::ValueInfoProto& info : proto.output()) {
    if (!seen.insert(info.name()).second && scope.parent == nullptr) {
      return base::InvalidArgument("output '" + info.name() + "' is listed twice");
    }
    Value* value = TRY(Lookup(info.name(), scope));
    if (value == nullptr)
      return base::InvalidArgument("output '" + info.name() + "' is an absent value");
    scope.graph->AddOutput(info.name(), value);
  }
  return Ok();
}

// The declared types of the outputs against the inferred ones: a model that lies about its
// interface is refused.
Status CheckOutputs(const onnx::GraphProto& proto, const Graph& graph) {
  for (int i = 0; i < proto.output_size(); ++i) {
    const onnx::ValueInfoProto& info = proto.output(i);
    const Value& value = *graph.outputs()[static_cast<size_t>(i)].value;
    if (!info.has_type()) continue;
    const tensor::DType declared = TRY(DeclaredType(info, "output"));
    if (declared != value.dtype) {
      return base::InvalidArgument("output '" + info.name() + "' is declared as " +
                                   std::string(tensor::DTypeName(declared)) + " but is " +
                                   std::string(tensor::DTypeName(value.dtype)));
    }
  }
  return Ok();
}

Result<OnnxModel> Reader::Read(onnx::ModelProto& model) {
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
  TRY(ReadInitializers(*model.mutable_graph(), scope));
  TRY(ReadInputs(model.graph(), scope));
  TRY(ReadNodes(model.graph().node(), scope));
  TRY(ReadOutputs(model.graph(), scope));
  TRY(CheckOutputs(model.graph(), *result.graph));
  TRY(Verify(*result.graph));
  return result;
}

}  // namespace

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
  return Reader(options, source, detached.large).Read(model);
}

}  // namespace

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

// The part of reading a model that is about sequences of tensors: inputs that are told to be some,
// operators on them, and loops over them, which are unrolled.
#include <algorithm>

#include "graph/onnx/model_reader.h"

namespace sluice::graph {

using base::Ok;
using base::Result;
using base::Status;
using tensor::Tensor;

namespace {

const onnx::GraphProto* BodyOf(const onnx::NodeProto& node) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == "body" && attribute.has_g()) return &attribute.g();
  }
  return nullptr;
}

std::string ElementName(const std::string& sequence, size_t i) {
  return sequence + "." + std::to_string(i);
}

bool IsSequence(const Operand& operand) {
  return operand.elements.has_value();
}

}  // namespace

Status ModelReader::CheckTold(const onnx::GraphProto& proto) const {
  const auto is_input = [&proto](const std::string& name, bool sequence) {
    return std::any_of(proto.input().begin(), proto.input().end(),
                       [&](const onnx::ValueInfoProto& info) {
                         return info.name() == name && info.type().has_sequence_type() == sequence;
                       });
  };
  for (const auto& [name, length] : options_.sequence_lengths) {
    if (!is_input(name, true)) {
      return base::InvalidArgument("a length is told of '" + name +
                                   "', which is no input that is a sequence");
    }
    if (length < 0 || length > kSequenceLengthMax) {
      return base::InvalidArgument("the length told of sequence '" + name + "' is " +
                                   std::to_string(length) + ", 0 to " +
                                   std::to_string(kSequenceLengthMax) + " are allowed");
    }
  }
  for (const auto& [name, value] : options_.known_inputs) {
    if (is_input(name, false)) continue;
    return base::InvalidArgument("a value is told of '" + name +
                                 "', which is no input that is a tensor");
  }
  return Ok();
}

Status ModelReader::ReadSequenceInput(const onnx::ValueInfoProto& info, Scope& scope) {
  const auto told = options_.sequence_lengths.find(info.name());
  if (told == options_.sequence_lengths.end()) {
    return base::Unimplemented("input '" + info.name() +
                               "' is not a tensor but a sequence whose length is not told");
  }
  const onnx::TypeProto& type = info.type().sequence_type().elem_type();
  const tensor::DType dtype = TRY(DeclaredType(info.name(), type, "element of input"));
  SequenceElements elements;
  for (size_t i = 0; i < static_cast<size_t>(told->second); ++i) {
    const std::string name = ElementName(info.name(), i);
    TRY(CheckName(name));
    // Each element has extents of its own, whatever they are called.
    onnx::TypeProto_Tensor tensor = type.tensor_type();
    for (onnx::TensorShapeProto_Dimension& dim : *tensor.mutable_shape()->mutable_dim()) {
      if (dim.has_dim_param()) dim.clear_dim_param();
    }
    if (!type.tensor_type().has_shape()) tensor.clear_shape();
    std::optional<SymShape> shape = TRY(DeclaredShape(name, tensor, scope.graph->symbols()));
    elements.push_back(scope.graph->AddInput(name, dtype, std::move(shape)));
    if (elements.back()->name != name) {
      return base::InvalidArgument("input '" + name + "' is an element of sequence '" +
                                   info.name() + "' and listed besides");
    }
  }
  return DefineOperand(info.name(), {nullptr, std::move(elements)}, scope);
}

Status ModelReader::ReadToldInput(const onnx::ValueInfoProto& info, const Tensor& told,
                                  Scope& scope) {
  const tensor::DType dtype = TRY(DeclaredType(info.name(), info.type(), "input"));
  const std::optional<SymShape> shape =
      TRY(DeclaredShape(info.name(), info.type().tensor_type(), scope.graph->symbols()));
  bool fits = told.dtype == dtype;
  if (shape.has_value()) {
    fits = fits && static_cast<int>(shape->size()) == told.shape.rank();
    for (int i = 0; fits && i < told.shape.rank(); ++i) {
      const Dim dim = (*shape)[static_cast<size_t>(i)];
      fits = !dim.is_constant() || dim.Is(told.shape[i]);
    }
  }
  if (!fits) {
    return base::InvalidArgument("the value told of input '" + info.name() + "' is " +
                                 std::string(tensor::DTypeName(told.dtype)) +
                                 told.shape.ToString() + ", which is not what the file declares");
  }
  return Define(info.name(), scope.graph->AddConstant(info.name(), told), scope);
}

const SequenceElements* ModelReader::FindSequence(const std::string& name, Scope& scope) {
  if (!sequences_) return nullptr;
  const auto found = scope.sequences.find(name);
  if (found != scope.sequences.end()) return &found->second;
  if (scope.parent == nullptr || scope.values.count(name) > 0) return nullptr;
  // What is captured in an enclosing scope is remembered there, as Lookup does.
  const SequenceElements* outer = FindSequence(name, const_cast<Scope&>(*scope.parent));
  if (outer == nullptr || scope.graph == scope.parent->graph) return outer;
  SequenceElements inner;
  for (size_t i = 0; i < outer->size(); ++i) {
    inner.push_back(Capture((*outer)[i], ElementName(name, i), scope));
  }
  return &scope.sequences.emplace(name, std::move(inner)).first->second;
}

Result<Operand> ModelReader::LookupOperand(const std::string& name, Scope& scope) {
  if (name.empty()) return Operand{};
  if (const SequenceElements* elements = FindSequence(name, scope)) {
    return Operand{nullptr, *elements};
  }
  return Operand{TRY(Lookup(name, scope)), std::nullopt};
}

Status ModelReader::DefineOperand(const std::string& name, Operand operand, Scope& scope) {
  if (!IsSequence(operand)) {
    return scope.sequences.count(name) == 0
               ? Define(name, operand.value, scope)
               : base::InvalidArgument("value '" + name + "' is made twice");
  }
  TRY(CheckName(name));
  sequences_ = true;
  elements_left_ -= static_cast<int64_t>(operand.elements->size());
  if (elements_left_ < 0) {
    return base::ResourceExhausted("the sequences of the model hold more than " +
                                   std::to_string(kSequenceElementsMax) + " tensors together");
  }
  if (scope.values.count(name) > 0 ||
      !scope.sequences.emplace(name, *std::move(operand.elements)).second) {
    return base::InvalidArgument("value '" + name + "' is made twice");
  }
  return Ok();
}

Result<bool> ModelReader::ReadOverSequences(const onnx::NodeProto& proto, Scope& scope) {
  const std::string& op = proto.op_type();
  const bool about = IsSequenceOp(op) || op == "SequenceMap";
  if (!about && !sequences_) return false;
  if (!about && op != "Identity" && op != "Loop") return false;
  bool any = about;
  std::vector<const std::string*> names;
  NamesRead(proto, names);
  for (const std::string* name : names) any = any || FindSequence(*name, scope) != nullptr;
  if (!any) return false;
  std::vector<Operand> inputs;
  for (const std::string& name : proto.input()) {
    inputs.push_back(TRY(LookupOperand(name, scope)));
  }
  if (op == "Loop") {
    TRY(UnrollLoop(proto, std::move(inputs), scope));
    return true;
  }
  if (op == "SequenceMap") {
    TRY(MapSequences(proto, inputs, scope));
    return true;
  }
  if (proto.output_size() != 1) return base::InvalidArgument("one output is expected");
  const onnx::NodeProto resolved = TRY(ResolveAttributes(proto, scope.attributes));
  const auto read = [this, &scope](const onnx::FunctionProto& body,
                                   const std::vector<Value*>& values) {
    const std::vector<bool> wanted(static_cast<size_t>(body.output_size()), true);
    return ReadFunctionBody(body, ContribOpsets(), {}, values, wanted, scope);
  };
  Operand result = TRY(ReadSequenceOp(resolved, inputs, *scope.graph, read));
  TRY(DefineOperand(proto.output(0), std::move(result), scope));
  return true;
}

Result<std::vector<Operand>> ModelReader::ReadBodyInPlace(const onnx::GraphProto& body,
                                                          const std::vector<Operand>& inputs,
                                                          Scope& scope) {
  if (scope.depth >= limits_.nesting_max) {
    return base::ResourceExhausted("subgraphs are nested deeper than " +
                                   std::to_string(limits_.nesting_max));
  }
  if (body.input_size() != static_cast<int>(inputs.size())) {
    return base::InvalidArgument("the body has " + std::to_string(body.input_size()) +
                                 " inputs where " + std::to_string(inputs.size()) + " are passed");
  }
  Scope inner;
  inner.parent = &scope;
  inner.graph = scope.graph;
  inner.opsets = scope.opsets;
  inner.attributes = scope.attributes;
  inner.depth = scope.depth + 1;
  inner.ours = scope.ours;
  inner.typed = scope.typed;
  // An iteration costs as much as a node, also where its body is empty.
  if (nodes_left_-- <= 0) {
    return base::ResourceExhausted("the model has more than " + std::to_string(limits_.nodes_max) +
                                   " nodes and unrolled iterations");
  }
  onnx::GraphProto initializers;
  *initializers.mutable_initializer() = body.initializer();
  *initializers.mutable_sparse_initializer() = body.sparse_initializer();
  TRY(ReadInitializers(initializers, inner));
  for (size_t i = 0; i < inputs.size(); ++i) {
    TRY(DefineOperand(body.input(static_cast<int>(i)).name(), inputs[i], inner));
  }
  TRY(ReadNodes(body.node(), inner));
  std::vector<Operand> outputs;
  for (const onnx::ValueInfoProto& info : body.output()) {
    outputs.push_back(TRY(LookupOperand(info.name(), inner)));
    if (outputs.back().value == nullptr && !IsSequence(outputs.back()))
      return base::InvalidArgument("output '" + info.name() + "' is an absent value");
  }
  return outputs;
}

// A loop over sequences: its count and its condition have to be known, the latter each time.
Status ModelReader::UnrollLoop(const onnx::NodeProto& proto, std::vector<Operand> inputs,
                               Scope& scope) {
  const onnx::GraphProto* body = BodyOf(proto);
  if (body == nullptr || inputs.size() < 2) return base::InvalidArgument("the loop has no body");
  const bool while_true = inputs[1].value == nullptr;
  std::optional<bool> goes_on = while_true ? true : KnownTruth(inputs[1].value);
  const std::optional<int64_t> count = KnownInteger(inputs[0].value);
  if (!count.has_value() || !goes_on.has_value() || IsSequence(inputs[0]) || IsSequence(inputs[1]))
    return base::Unimplemented(
        "the count and the condition of a loop over sequences must be known when the model is "
        "read");
  if (*count > kSequenceLengthMax) {
    return base::ResourceExhausted("a loop over sequences of " + std::to_string(*count) +
                                   " iterations is above the limit of " +
                                   std::to_string(kSequenceLengthMax));
  }
  const size_t carried = inputs.size() - 2;
  if (body->output_size() != static_cast<int>(carried) + 1 ||
      proto.output_size() > static_cast<int>(carried)) {
    return base::Unimplemented("a loop over sequences that collects tensors is not supported");
  }
  for (int64_t i = 0; i < *count && *goes_on; ++i) {
    Tensor counter = TRY(Tensor::Allocate(tensor::DType::kI64, tensor::Shape(), 64));
    *counter.mutable_view().as<int64_t>() = i;
    inputs[0].value = scope.graph->AddConstant("iteration", std::move(counter));
    if (while_true && i == 0) {
      Tensor condition = TRY(Tensor::Allocate(tensor::DType::kBool, tensor::Shape(), 64));
      *condition.mutable_view().as<bool>() = true;
      inputs[1].value = scope.graph->AddConstant("condition", std::move(condition));
    }
    std::vector<Operand> outputs = TRY(ReadBodyInPlace(*body, inputs, scope));
    goes_on = KnownTruth(outputs[0].value);
    if (!goes_on.has_value()) {
      return base::Unimplemented(
          "the condition of a loop over sequences must be known when the model is read");
    }
    std::move(outputs.begin(), outputs.end(), inputs.begin() + 1);
  }
  for (int i = 0; i < proto.output_size(); ++i) {
    if (proto.output(i).empty()) continue;
    TRY(DefineOperand(proto.output(i), std::move(inputs[static_cast<size_t>(i) + 2]), scope));
  }
  return Ok();
}

// The body once an element of the first sequence, with that element of the other sequences.
Status ModelReader::MapSequences(const onnx::NodeProto& proto, const std::vector<Operand>& inputs,
                                 Scope& scope) {
  const onnx::GraphProto* body = BodyOf(proto);
  if (body == nullptr || inputs.empty() || !IsSequence(inputs[0]))
    return base::InvalidArgument("a sequence and a body are expected");
  const size_t length = inputs[0].elements->size();
  std::vector<SequenceElements> results(static_cast<size_t>(proto.output_size()));
  if (body->output_size() != proto.output_size())
    return base::InvalidArgument("the body has another number of outputs than the node");
  for (size_t i = 0; i < length; ++i) {
    std::vector<Operand> passed = inputs;
    for (Operand& operand : passed) {
      if (!IsSequence(operand)) continue;
      if (operand.elements->size() != length)
        return base::InvalidArgument("sequences of different lengths are passed");
      operand = {(*operand.elements)[i], std::nullopt};
    }
    const std::vector<Operand> outputs = TRY(ReadBodyInPlace(*body, passed, scope));
    for (size_t k = 0; k < outputs.size(); ++k) {
      if (IsSequence(outputs[k])) return base::InvalidArgument("the body makes sequences");
      results[k].push_back(outputs[k].value);
    }
  }
  for (size_t k = 0; k < results.size(); ++k) {
    const std::string& name = proto.output(static_cast<int>(k));
    if (!name.empty()) TRY(DefineOperand(name, {nullptr, std::move(results[k])}, scope));
  }
  return Ok();
}

}  // namespace sluice::graph

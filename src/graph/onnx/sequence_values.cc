#include "graph/onnx/sequence_values.h"

#include <algorithm>
#include <string>

namespace sluice::graph {
namespace {

using base::Result;
using tensor::DType;
using tensor::Tensor;

int64_t IntAttribute(const onnx::NodeProto& node, std::string_view name, int64_t fallback) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name) return attribute.i();
  }
  return fallback;
}

void SetInt(onnx::NodeProto& node, const char* name, int64_t value) {
  onnx::AttributeProto* attribute = node.add_attribute();
  attribute->set_name(name);
  attribute->set_type(onnx::AttributeProto::INT);
  attribute->set_i(value);
}

onnx::NodeProto& AddNode(onnx::FunctionProto& body, const char* op,
                         std::initializer_list<std::string> inputs, const std::string& output) {
  onnx::NodeProto* node = body.add_node();
  node->set_op_type(op);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(output);
  return *node;
}

// A one-dimensional constant of the body.
void AddInts(onnx::FunctionProto& body, const std::string& name, std::span<const int64_t> values) {
  onnx::AttributeProto* attribute = AddNode(body, "Constant", {}, name).add_attribute();
  attribute->set_name("value_ints");
  attribute->set_type(onnx::AttributeProto::INTS);
  for (const int64_t value : values) attribute->add_ints(value);
}

Result<Value*> IntConstant(Graph& graph, int64_t value) {
  Tensor tensor = TRY(Tensor::Allocate(DType::kI64, tensor::Shape(), 64));
  *tensor.mutable_view().as<int64_t>() = value;
  return graph.AddConstant("length", std::move(tensor));
}

Result<Value*> BoolConstant(Graph& graph, bool value) {
  Tensor tensor = TRY(Tensor::Allocate(DType::kBool, tensor::Shape(), 64));
  *tensor.mutable_view().as<bool>() = value;
  return graph.AddConstant("present", std::move(tensor));
}

// Where `position` points in a sequence of `length`, from the end when negative; one past its end
// is allowed where something is inserted.
Result<size_t> Position(const Operand& position, size_t length, bool past_end) {
  if (position.elements.has_value()) return base::InvalidArgument("the position is a sequence");
  const std::optional<int64_t> told = KnownInteger(position.value);
  if (!told.has_value()) {
    return base::Unimplemented(
        "the position in a sequence must be known when the model is read: a constant, an input "
        "told beforehand, or the count of an unrolled loop");
  }
  const auto size = static_cast<int64_t>(length);
  const int64_t at = *told < 0 ? *told + size : *told;
  if (at < 0 || at >= size + (past_end ? 1 : 0)) {
    return base::InvalidArgument("position " + std::to_string(*told) +
                                 " lies outside of a sequence of " + std::to_string(length));
  }
  return static_cast<size_t>(at);
}

base::Status CheckLength(size_t length) {
  if (static_cast<int64_t>(length) <= kSequenceLengthMax) return base::Ok();
  return base::ResourceExhausted("a sequence of " + std::to_string(length) +
                                 " tensors is above the limit of " +
                                 std::to_string(kSequenceLengthMax));
}

base::Status CheckOneType(const SequenceElements& elements) {
  for (const Value* element : elements) {
    const Value& first = *elements.front();
    if (first.typed && element->typed && first.dtype != element->dtype) {
      return base::InvalidArgument("a sequence of " + std::string(DTypeName(first.dtype)) +
                                   " tensors takes none of " +
                                   std::string(DTypeName(element->dtype)));
    }
  }
  return base::Ok();
}

Operand Of(Value* value) {
  return {value, std::nullopt};
}
Operand Of(SequenceElements elements) {
  return {nullptr, std::move(elements)};
}

Result<Operand> Concatenate(const onnx::NodeProto& node, const SequenceElements& elements,
                            ReadSpelled spelled) {
  if (elements.empty()) return base::InvalidArgument("an empty sequence cannot be concatenated");
  const int64_t axis = IntAttribute(node, "axis", 0);
  onnx::FunctionProto body;
  const bool new_axis = IntAttribute(node, "new_axis", 0) != 0;
  if (new_axis) AddInts(body, "axes", {&axis, 1});
  std::vector<std::string> parts;
  for (size_t i = 0; i < elements.size(); ++i) {
    const std::string name = "e" + std::to_string(i);
    body.add_input(name);
    if (new_axis) AddNode(body, "Unsqueeze", {name, "axes"}, name + ".row");
    parts.push_back(new_axis ? name + ".row" : name);
  }
  onnx::NodeProto& concat = AddNode(body, "Concat", {}, "all");
  SetInt(concat, "axis", axis);
  for (const std::string& part : parts) concat.add_input(part);
  body.add_output("all");
  return Of(TRY(spelled(body, elements)).front());
}

// How long the pieces of `data` are along `axis`, and whether the graph is told by `split` alone.
struct Pieces {
  std::vector<int64_t> lengths;  // empty where `split` says it as the graph runs
  size_t count = 0;
};

Result<Pieces> PiecesOf(const Value& data, const Value* split, int64_t axis) {
  Pieces pieces;
  if (split != nullptr && split->shape.has_value() && split->shape->size() == 1) {
    const Dim count = split->shape->front();
    if (!count.is_constant())
      return base::Unimplemented("the number of pieces must be known when the model is read");
    pieces.count = static_cast<size_t>(count.constant());
    return pieces;
  }
  std::optional<int64_t> each = 1;
  if (split != nullptr) each = KnownInteger(split);
  const auto rank = data.shape.has_value() ? static_cast<int64_t>(data.shape->size()) : 0;
  const int64_t at = axis < 0 ? axis + rank : axis;
  const bool inside = at >= 0 && at < rank;
  if (!each.has_value() || !inside || !(*data.shape)[static_cast<size_t>(at)].is_constant()) {
    return base::Unimplemented(
        "the length of the axis and of its pieces must be known when the model is read");
  }
  if (*each < 1) {
    return base::InvalidArgument("pieces of " + std::to_string(*each) + " rows, at least 1 is");
  }
  const int64_t extent = (*data.shape)[static_cast<size_t>(at)].constant();
  if (extent / *each >= kSequenceLengthMax)
    TRY(CheckLength(static_cast<size_t>(extent / *each + 1)));
  for (int64_t from = 0; from < extent; from += *each) {
    pieces.lengths.push_back(std::min(*each, extent - from));
  }
  pieces.count = pieces.lengths.size();
  return pieces;
}

Result<Operand> Split(const onnx::NodeProto& node, std::span<const Operand> inputs,
                      ReadSpelled spelled) {
  Value* const split = inputs.size() > 1 ? inputs[1].value : nullptr;
  Value* const data = inputs[0].value;
  const int64_t axis = IntAttribute(node, "axis", 0);
  const Pieces pieces = TRY(PiecesOf(*data, split, axis));
  TRY(CheckLength(pieces.count));
  if (pieces.count == 0) return Of(SequenceElements());
  onnx::FunctionProto body;
  body.add_input("data");
  body.add_input("split");
  if (!pieces.lengths.empty()) AddInts(body, "lengths", pieces.lengths);
  const bool squeeze = split == nullptr && IntAttribute(node, "keepdims", 1) == 0;
  if (squeeze) AddInts(body, "axes", {&axis, 1});
  onnx::NodeProto& cut =
      AddNode(body, "Split", {"data", pieces.lengths.empty() ? "split" : "lengths"}, "p0");
  SetInt(cut, "axis", axis);
  for (size_t i = 0; i < pieces.count; ++i) {
    const std::string name = "p" + std::to_string(i);
    if (i > 0) cut.add_output(name);
    body.add_output(squeeze ? name + ".row" : name);
  }
  for (size_t i = 0; squeeze && i < pieces.count; ++i) {
    const std::string name = "p" + std::to_string(i);
    AddNode(body, "Squeeze", {name, "axes"}, name + ".row");
  }
  return Of(TRY(spelled(body, {data, split})));
}

Result<Operand> Construct(std::span<const Operand> inputs) {
  SequenceElements elements;
  for (const Operand& input : inputs) {
    if (input.value == nullptr) return base::InvalidArgument("a sequence is made of tensors");
    elements.push_back(input.value);
  }
  TRY(CheckLength(elements.size()));
  TRY(CheckOneType(elements));
  return Of(std::move(elements));
}

Result<Operand> Insert(SequenceElements elements, std::span<const Operand> inputs) {
  if (inputs.size() < 2 || inputs[1].value == nullptr)
    return base::InvalidArgument("a tensor is inserted");
  size_t at = elements.size();
  const bool told =
      inputs.size() > 2 && (inputs[2].value != nullptr || inputs[2].elements.has_value());
  if (told) at = TRY(Position(inputs[2], elements.size(), true));
  elements.insert(elements.begin() + static_cast<std::ptrdiff_t>(at), inputs[1].value);
  TRY(CheckLength(elements.size()));
  TRY(CheckOneType(elements));
  return Of(std::move(elements));
}

}  // namespace

std::optional<int64_t> KnownInteger(const Value* value) {
  if (value == nullptr) return std::nullopt;
  if (value->is_constant()) {
    const tensor::ConstView view = value->constant->view();
    if (view.shape.elements() != 1) return std::nullopt;
    if (view.dtype == DType::kI64) return *view.as<int64_t>();
    if (view.dtype == DType::kI32) return *view.as<int32_t>();
    return std::nullopt;
  }
  if (!value->elements.has_value() || value->elements->size() != 1 ||
      !value->elements->front().is_constant())
    return std::nullopt;
  return value->elements->front().constant();
}

std::optional<bool> KnownTruth(const Value* value) {
  while (value != nullptr && value->producer != nullptr && value->producer->Is("Identity")) {
    value = value->producer->input(0);
  }
  if (value == nullptr || !value->is_constant() || value->dtype != DType::kBool ||
      value->constant->shape.elements() != 1)
    return std::nullopt;
  return *value->constant->view().as<bool>();
}

bool IsSequenceOp(std::string_view op) {
  static constexpr std::string_view kOps[] = {
      "ConcatFromSequence", "OptionalGetElement", "OptionalHasElement", "SequenceAt",
      "SequenceConstruct",  "SequenceEmpty",      "SequenceErase",      "SequenceInsert",
      "SequenceLength",     "SplitToSequence"};
  return std::binary_search(std::begin(kOps), std::end(kOps), op);
}

Result<Operand> ReadSequenceOp(const onnx::NodeProto& node, std::span<const Operand> inputs,
                               Graph& graph, ReadSpelled spelled) {
  const std::string_view op = node.op_type();
  if (op == "SequenceEmpty") return Of(SequenceElements());
  if (op == "SequenceConstruct") return Construct(inputs);
  const bool none = inputs.empty() || (inputs[0].value == nullptr && !inputs[0].elements);
  if (op == "OptionalHasElement") return Of(TRY(BoolConstant(graph, !none)));
  if (none) return base::InvalidArgument("the first input is absent");
  if (op == "Identity" || op == "OptionalGetElement") return inputs[0];
  if (op == "SplitToSequence") {
    if (inputs[0].value == nullptr) return base::InvalidArgument("a tensor is split");
    return Split(node, inputs, spelled);
  }
  if (!inputs[0].elements.has_value())
    return base::InvalidArgument("the first input is a tensor where a sequence is expected");
  SequenceElements elements = *inputs[0].elements;
  if (op == "SequenceLength") {
    return Of(TRY(IntConstant(graph, static_cast<int64_t>(elements.size()))));
  }
  if (op == "ConcatFromSequence") return Concatenate(node, elements, spelled);
  if (op == "SequenceInsert") return Insert(std::move(elements), inputs);
  if (op == "SequenceAt") {
    if (inputs.size() < 2) return base::InvalidArgument("a position is expected");
    return Of(elements[TRY(Position(inputs[1], elements.size(), false))]);
  }
  // SequenceErase: the last where no position is told.
  size_t at = elements.size() - 1;
  if (inputs.size() > 1 && (inputs[1].value != nullptr || inputs[1].elements.has_value())) {
    at = TRY(Position(inputs[1], elements.size(), false));
  } else if (elements.empty()) {
    return base::InvalidArgument("nothing can be erased from an empty sequence");
  }
  elements.erase(elements.begin() + static_cast<std::ptrdiff_t>(at));
  return Of(std::move(elements));
}

}  // namespace sluice::graph

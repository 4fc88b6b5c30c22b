#include "graph/onnx/contrib.h"

#include <algorithm>

#include "base/check.h"
#include "graph/onnx/tensor.h"
#include "graph/op.h"
#include "graph/ops/rules.h"

namespace sluice::graph {
namespace {

using base::Result;
using tensor::DType;

void SetAttribute(const ContribBody::Attribute& from, onnx::AttributeProto* to) {
  to->set_name(std::string(from.name));
  if (const auto* value = std::get_if<int64_t>(&from.value)) {
    to->set_type(onnx::AttributeProto::INT);
    to->set_i(*value);
  } else if (const auto* number = std::get_if<float>(&from.value)) {
    to->set_type(onnx::AttributeProto::FLOAT);
    to->set_f(*number);
  } else if (const auto* text = std::get_if<std::string>(&from.value)) {
    to->set_type(onnx::AttributeProto::STRING);
    to->set_s(*text);
  } else {
    to->set_type(onnx::AttributeProto::INTS);
    for (const int64_t i : std::get<std::vector<int64_t>>(from.value)) to->add_ints(i);
  }
}

}  // namespace

int64_t ContribCode(DType dtype) {
  for (int64_t code = 1; code <= onnx::TensorProto::DataType_MAX; ++code) {
    if (DTypeFromOnnx(code) == dtype) return code;
  }
  CHECK(false) << tensor::DTypeName(dtype);
  return 0;
}

ContribBody::ContribBody(const onnx::NodeProto& node, std::span<Value* const> inputs)
    : node_(node), inputs_(inputs), outputs_(static_cast<size_t>(node.output_size())) {
  for (size_t i = 0; i < inputs.size(); ++i) function_.add_input("input_" + std::to_string(i));
}

std::string ContribBody::In(size_t i) const {
  return has(i) ? "input_" + std::to_string(i) : "";
}

std::optional<int> ContribBody::Rank(size_t i) const {
  if (!has(i) || !inputs_[i]->shape.has_value()) return std::nullopt;
  return static_cast<int>(inputs_[i]->shape->size());
}

std::optional<int64_t> ContribBody::Extent(size_t i, int axis) const {
  const std::optional<int> rank = Rank(i);
  if (!rank.has_value()) return std::nullopt;
  const int at = axis < 0 ? axis + *rank : axis;
  if (at < 0 || at >= *rank) return std::nullopt;
  const Dim dim = (*inputs_[i]->shape)[static_cast<size_t>(at)];
  if (!dim.is_constant()) return std::nullopt;
  return dim.constant();
}

DType ContribBody::Type(size_t i) const {
  return has(i) && inputs_[i]->typed ? inputs_[i]->dtype : DType::kF32;
}

const tensor::Tensor* ContribBody::Constant(size_t i) const {
  return has(i) ? inputs_[i]->constant.get() : nullptr;
}

const onnx::AttributeProto* ContribBody::Find(std::string_view name) {
  read_.emplace(name);
  for (const onnx::AttributeProto& attribute : node_.attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

int64_t ContribBody::Int(std::string_view name, int64_t fallback) {
  const onnx::AttributeProto* found = Find(name);
  return found != nullptr ? found->i() : fallback;
}
float ContribBody::Float(std::string_view name, float fallback) {
  const onnx::AttributeProto* found = Find(name);
  return found != nullptr ? found->f() : fallback;
}
std::string ContribBody::String(std::string_view name, std::string_view fallback) {
  const onnx::AttributeProto* found = Find(name);
  return found != nullptr ? found->s() : std::string(fallback);
}
std::vector<int64_t> ContribBody::Ints(std::string_view name) {
  const onnx::AttributeProto* found = Find(name);
  if (found == nullptr) return {};
  return {found->ints().begin(), found->ints().end()};
}
std::vector<float> ContribBody::Floats(std::string_view name) {
  const onnx::AttributeProto* found = Find(name);
  if (found == nullptr) return {};
  return {found->floats().begin(), found->floats().end()};
}
std::vector<std::string> ContribBody::Strings(std::string_view name) {
  const onnx::AttributeProto* found = Find(name);
  if (found == nullptr) return {};
  return {found->strings().begin(), found->strings().end()};
}
Result<std::optional<tensor::Tensor>> ContribBody::Tensor(std::string_view name) {
  const onnx::AttributeProto* found = Find(name);
  if (found == nullptr) return std::optional<tensor::Tensor>();
  TensorSource source(nullptr, GraphLimits());
  return std::optional<tensor::Tensor>(TRY(TensorFromProto(found->t(), source)));
}
bool ContribBody::HasAttribute(std::string_view name) const {
  return std::any_of(node_.attribute().begin(), node_.attribute().end(),
                     [name](const onnx::AttributeProto& a) { return a.name() == name; });
}

void ContribBody::Ignore(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) read_.emplace(name);
}

void ContribBody::PassOn(std::initializer_list<std::string_view> names) {
  onnx::NodeProto* last = function_.mutable_node(function_.node_size() - 1);
  for (const std::string_view name : names) {
    if (const onnx::AttributeProto* found = Find(name)) *last->add_attribute() = *found;
  }
}

std::string ContribBody::NewName() {
  return node_.name() + "/" + node_.op_type() + "_" + std::to_string(names_++);
}

onnx::NodeProto* ContribBody::NewNode(std::string_view op, const std::vector<std::string>& inputs) {
  onnx::NodeProto* node = function_.add_node();
  node->set_op_type(std::string(op));
  if (FindOp("", op, kContribBodyOpset) == nullptr) node->set_domain(std::string(kOurDomain));
  node->set_name(node_.name() + "/" + std::string(op));
  for (const std::string& input : inputs) node->add_input(input);
  return node;
}

std::vector<std::string> ContribBody::MakeMany(std::string_view op,
                                               const std::vector<std::string>& inputs,
                                               size_t outputs,
                                               std::initializer_list<Attribute> attributes) {
  onnx::NodeProto* node = NewNode(op, inputs);
  for (const Attribute& attribute : attributes) SetAttribute(attribute, node->add_attribute());
  std::vector<std::string> names;
  for (size_t i = 0; i < outputs; ++i) {
    names.push_back(NewName());
    node->add_output(names.back());
  }
  return names;
}

std::string ContribBody::Make(std::string_view op, std::initializer_list<std::string> inputs,
                              std::initializer_list<Attribute> attributes) {
  return MakeMany(op, inputs, 1, attributes)[0];
}

std::string ContribBody::MakeFrom(std::string_view op, const std::vector<std::string>& inputs,
                                  std::initializer_list<Attribute> attributes) {
  return MakeMany(op, inputs, 1, attributes)[0];
}

std::string ContribBody::TensorConstant(onnx::TensorProto tensor) {
  onnx::NodeProto* node = NewNode("Constant", {});
  onnx::AttributeProto* value = node->add_attribute();
  value->set_name("value");
  value->set_type(onnx::AttributeProto::TENSOR);
  *value->mutable_t() = std::move(tensor);
  node->add_output(NewName());
  return node->output(0);
}

std::string ContribBody::IntList(const std::vector<int64_t>& values) {
  onnx::TensorProto tensor;
  tensor.set_data_type(onnx::TensorProto::INT64);
  tensor.add_dims(static_cast<int64_t>(values.size()));
  for (const int64_t value : values) tensor.add_int64_data(value);
  return TensorConstant(std::move(tensor));
}

std::string ContribBody::FloatList(const std::vector<float>& values) {
  onnx::TensorProto tensor;
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  tensor.add_dims(static_cast<int64_t>(values.size()));
  for (const float value : values) tensor.add_float_data(value);
  return TensorConstant(std::move(tensor));
}

std::string ContribBody::StringList(const std::vector<std::string>& values) {
  onnx::TensorProto tensor;
  tensor.set_data_type(onnx::TensorProto::STRING);
  tensor.add_dims(static_cast<int64_t>(values.size()));
  for (const std::string& value : values) tensor.add_string_data(value);
  return TensorConstant(std::move(tensor));
}

std::string ContribBody::Number32(float value) {
  onnx::TensorProto tensor;
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  tensor.add_float_data(value);
  return TensorConstant(std::move(tensor));
}

std::string ContribBody::IntScalar(int64_t value) {
  onnx::TensorProto tensor;
  tensor.set_data_type(onnx::TensorProto::INT64);
  tensor.add_int64_data(value);
  return TensorConstant(std::move(tensor));
}

std::string ContribBody::Number(float value, size_t like) {
  const std::string number = Number32(value);
  if (Type(like) == DType::kF32) return number;
  return CastTo(number, Type(like));
}

std::string ContribBody::CastTo(const std::string& value, DType type) {
  return Make("Cast", {value}, {{"to", ContribCode(type)}});
}

std::string ContribBody::AddMaybe(const std::string& a, const std::string& b) {
  return b.empty() ? a : Make("Add", {a, b});
}

std::string ContribBody::Dimension(const std::string& value, int64_t axis) {
  return Make("Shape", {value}, {{"start", axis}, {"end", axis + 1}});
}

void ContribBody::Output(int i, const std::string& value) {
  if (wants(i)) outputs_[static_cast<size_t>(i)] = value;
}

Result<onnx::FunctionProto> ContribBody::Finish() {
  for (const onnx::AttributeProto& attribute : node_.attribute()) {
    if (read_.count(attribute.name()) == 0)
      return base::Unimplemented("attribute '" + attribute.name() + "' is not known");
  }
  for (int i = 0; i < node_.output_size(); ++i) {
    const std::string& made = outputs_[static_cast<size_t>(i)];
    if (wants(i) && made.empty())
      return base::Unimplemented("output " + std::to_string(i) + " is not supported");
    function_.add_output(made);
  }
  return std::move(function_);
}

Result<std::string> ContribActivation(ContribBody& body, const std::string& value,
                                      std::string_view alpha_attribute,
                                      std::string_view beta_attribute) {
  const std::string name = body.String("activation", "");
  const float alpha = body.Float(alpha_attribute, 0.01F);
  const float beta = body.Float(beta_attribute, 0);
  if (name.empty()) return value;
  if (name == "LeakyRelu" || name == "ThresholdedRelu" || name == "Elu") {
    return body.Make(name, {value}, {{"alpha", alpha}});
  }
  if (name == "HardSigmoid") return body.Make(name, {value}, {{"alpha", alpha}, {"beta", beta}});
  if (name == "Clip") {
    return body.Make(name, {value, body.Number(alpha, 0), body.Number(beta, 0)});
  }
  if (name == "Relu" || name == "Tanh" || name == "Sigmoid" || name == "Softplus" ||
      name == "Softsign" || name == "HardSwish") {
    return body.Make(name, {value});
  }
  return body.Refuse("activation '" + name + "' is not supported");
}

const ContribOp* FindContrib(std::string_view domain, std::string_view op, int opset) {
  const auto find = [op, opset](std::initializer_list<std::span<const ContribOp>> tables) {
    for (const std::span<const ContribOp> table : tables) {
      for (const ContribOp& row : table) {
        if (row.name == op && opset <= row.opset_max) return &row;
      }
    }
    return static_cast<const ContribOp*>(nullptr);
  };
  if (domain == kClassicDomain) return find({ClassicModelOps(), TreeModelOps()});
  // ONNX Runtime keeps one of its own in ONNX's domain.
  if (domain == kContribDomain || (domain.empty() && op == "SimplifiedLayerNormalization"))
    return find({ContribAttentionOps(), GroupedAttentionOps(), ContribDenseOps(),
                 ContribDequantizedOps(), ContribQuantizedOps()});
  if (domain.empty()) return find({FunctionOps(), StandardAttentionOps()});
  return nullptr;
}

bool ContribApplies(const ContribOp& op, const onnx::NodeProto& node,
                    std::span<Value* const> inputs) {
  if (op.applies == nullptr) return true;
  ContribBody body(node, inputs);
  return op.applies(body);
}

Result<onnx::FunctionProto> ExpandContrib(const ContribOp& op, const onnx::NodeProto& node,
                                          std::span<Value* const> inputs) {
  ContribBody body(node, inputs);
  TRY(op.expand(body));
  return body.Finish();
}

}  // namespace sluice::graph

#include "graph/onnx/attributes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "graph/op.h"
#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {

using base::Ok;
using base::Result;
using base::Status;
using onnx::AttributeProto;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

namespace {

struct KnownAttribute {
  std::string_view name;
  AttributeProto::AttributeType type;
  std::string_view op = "";  // where other ops give the name another type
};

// Every attribute of the ops in the registry. A name means one type wherever it occurs, but for the
// rows with an op. What is not here is refused: it would be ignored, and the answer would be wrong
// without a word.
constexpr auto kKnown = std::to_array<KnownAttribute>({
    {"activation_alpha", AttributeProto::FLOATS},
    {"activation_beta", AttributeProto::FLOATS},
    {"activations", AttributeProto::STRINGS},
    {"allowzero", AttributeProto::INT},
    {"aggregate", AttributeProto::INT},
    {"alpha", AttributeProto::FLOAT},
    {"approximate", AttributeProto::STRING},
    {"auto_pad", AttributeProto::STRING},
    {"axes", AttributeProto::INTS},
    {"axis", AttributeProto::INT},
    {"batch_axis", AttributeProto::INT},
    {"batch_dims", AttributeProto::INT},
    {"beta", AttributeProto::FLOAT},
    {"bias", AttributeProto::FLOAT},
    {"block_size", AttributeProto::INT},
    {"blocksize", AttributeProto::INT},
    {"body", AttributeProto::GRAPH},
    {"ceil_mode", AttributeProto::INT},
    {"clip", AttributeProto::FLOAT},
    {"coordinate_transformation_mode", AttributeProto::STRING},
    {"antialias", AttributeProto::INT},
    {"count_include_pad", AttributeProto::INT},
    {"cubic_coeff_a", AttributeProto::FLOAT},
    {"detect_negative", AttributeProto::INT},
    {"detect_positive", AttributeProto::INT},
    {"dilations", AttributeProto::INTS},
    {"direction", AttributeProto::STRING},
    {"dtype", AttributeProto::INT},
    {"else_branch", AttributeProto::GRAPH},
    {"end", AttributeProto::INT},
    {"ends", AttributeProto::INTS},
    {"epsilon", AttributeProto::FLOAT},
    {"equation", AttributeProto::STRING},
    {"exclude_outside", AttributeProto::INT},
    {"exclusive", AttributeProto::INT},
    {"extrapolation_value", AttributeProto::FLOAT},
    {"features", AttributeProto::INT},
    {"fmod", AttributeProto::INT},
    {"gamma", AttributeProto::FLOAT},
    {"group", AttributeProto::INT},
    {"hidden_size", AttributeProto::INT},
    {"input_forget", AttributeProto::INT},
    {"interleaved", AttributeProto::INT},
    {"is_causal", AttributeProto::INT},
    {"k", AttributeProto::INT},
    {"keep_aspect_ratio_policy", AttributeProto::STRING},
    {"keepdims", AttributeProto::INT},
    {"kernel_shape", AttributeProto::INTS},
    {"kv_num_heads", AttributeProto::INT},
    {"lambd", AttributeProto::FLOAT},
    {"largest", AttributeProto::INT},
    {"layout", AttributeProto::INT},
    {"linear_before_reset", AttributeProto::INT},
    {"max", AttributeProto::FLOAT},
    {"min", AttributeProto::FLOAT},
    {"mode", AttributeProto::STRING},
    {"momentum", AttributeProto::FLOAT},
    {"nearest_mode", AttributeProto::STRING},
    {"noop_with_empty_axes", AttributeProto::INT},
    {"num_groups", AttributeProto::INT},
    {"num_heads", AttributeProto::INT},
    {"num_outputs", AttributeProto::INT},
    {"num_scan_inputs", AttributeProto::INT},
    {"output_dtype", AttributeProto::INT},
    {"output_padding", AttributeProto::INTS},
    {"output_shape", AttributeProto::INTS},
    {"p", AttributeProto::INT},
    {"pads", AttributeProto::INTS},
    {"perm", AttributeProto::INTS},
    {"precision", AttributeProto::INT},
    {"q_num_heads", AttributeProto::INT},
    {"qk_matmul_output_mode", AttributeProto::INT},
    {"questions", AttributeProto::INT},
    {"ratio", AttributeProto::FLOAT},
    {"reduction", AttributeProto::STRING},
    {"reverse", AttributeProto::INT},
    {"rotary_embedding_dim", AttributeProto::INT},
    {"round_mode", AttributeProto::STRING},
    {"saturate", AttributeProto::INT},
    {"scale", AttributeProto::FLOAT},
    {"scales", AttributeProto::FLOATS},
    {"scan_input_axes", AttributeProto::INTS},
    {"scan_input_directions", AttributeProto::INTS},
    {"scan_output_axes", AttributeProto::INTS},
    {"scan_output_directions", AttributeProto::INTS},
    {"seed", AttributeProto::INT},
    {"select_last_index", AttributeProto::INT},
    {"shape", AttributeProto::INTS},
    {"single", AttributeProto::INT},
    {"size", AttributeProto::INT},
    {"softcap", AttributeProto::FLOAT},
    {"softmax_precision", AttributeProto::INT},
    {"sorted", AttributeProto::INT},
    {"spatial", AttributeProto::INT},
    {"special", AttributeProto::INT},
    {"split", AttributeProto::INTS},
    {"stash_type", AttributeProto::INT},
    {"start", AttributeProto::INT},
    {"starts", AttributeProto::INTS},
    {"storage_order", AttributeProto::INT},
    {"strides", AttributeProto::INTS},
    {"targets", AttributeProto::INT},
    {"then_branch", AttributeProto::GRAPH},
    {"time_axis", AttributeProto::INT},
    {"to", AttributeProto::INT},
    {"training_mode", AttributeProto::INT},
    {"transA", AttributeProto::INT},
    {"transB", AttributeProto::INT},
    {"upper", AttributeProto::INT},
    {"value", AttributeProto::TENSOR},
    {"value", AttributeProto::FLOAT, "Pad"},
});

Status CheckKnown(const AttributeProto& attribute, const OpDef& op) {
  const KnownAttribute* known = nullptr;
  for (const KnownAttribute& row : kKnown) {
    if (row.name == attribute.name() && (row.op.empty() || row.op == op.name)) known = &row;
  }
  if (known == nullptr)
    return base::Unimplemented("attribute '" + attribute.name() + "' is not known");
  if (known->type != attribute.type()) {
    return base::InvalidArgument("attribute '" + attribute.name() + "' must be of type " +
                                 onnx::AttributeProto_AttributeType_Name(known->type));
  }
  return Ok();
}

// The attribute itself, or what it refers to in a function; null when the call gives nothing.
Result<const AttributeProto*> Resolve(const AttributeProto& attribute,
                                      const AttributeEnvironment* environment) {
  if (attribute.ref_attr_name().empty()) return &attribute;
  if (environment == nullptr) {
    return base::InvalidArgument("attribute '" + attribute.name() + "' refers to '" +
                                 attribute.ref_attr_name() + "' outside of a function");
  }
  const auto found = environment->find(attribute.ref_attr_name());
  return found == environment->end() ? nullptr : found->second;
}

Result<AttributeValue> ValueOf(const AttributeProto& attribute, TensorSource& source) {
  // Inlining multiplies what a function's nodes carry.
  if (attribute.type() != AttributeProto::TENSOR)
    TRY(source.TakeInline(static_cast<int64_t>(attribute.ByteSizeLong())));
  switch (attribute.type()) {
    case AttributeProto::INT:
      return AttributeValue(int64_t{attribute.i()});
    case AttributeProto::FLOAT:
      return AttributeValue(attribute.f());
    case AttributeProto::STRING:
      return AttributeValue(attribute.s());
    case AttributeProto::INTS:
      return AttributeValue(std::vector<int64_t>(attribute.ints().begin(), attribute.ints().end()));
    case AttributeProto::FLOATS:
      return AttributeValue(
          std::vector<float>(attribute.floats().begin(), attribute.floats().end()));
    case AttributeProto::STRINGS:
      return AttributeValue(
          std::vector<std::string>(attribute.strings().begin(), attribute.strings().end()));
    case AttributeProto::TENSOR:
      return AttributeValue(TRY(TensorFromProto(attribute.t(), source)));
    default:
      return base::Unimplemented("attribute '" + attribute.name() + "' has the type " +
                                 onnx::AttributeProto_AttributeType_Name(attribute.type()));
  }
}

}  // namespace

Result<AttributeEnvironment> CallEnvironment(const onnx::NodeProto& call,
                                             const onnx::FunctionProto& function,
                                             const AttributeEnvironment* outer) {
  AttributeEnvironment environment;
  for (const AttributeProto& fallback : function.attribute_proto())
    environment[fallback.name()] = &fallback;
  for (const AttributeProto& given : call.attribute()) {
    const bool declared = environment.count(given.name()) > 0 ||
                          std::find(function.attribute().begin(), function.attribute().end(),
                                    given.name()) != function.attribute().end();
    if (!declared)
      return base::InvalidArgument("the function has no attribute '" + given.name() + "'");
    const AttributeProto* value = TRY(Resolve(given, outer));
    if (value != nullptr) environment[given.name()] = value;
  }
  return environment;
}

Result<onnx::NodeProto> ResolveAttributes(const onnx::NodeProto& proto,
                                          const AttributeEnvironment* environment) {
  onnx::NodeProto resolved = proto;
  resolved.clear_attribute();
  for (const AttributeProto& attribute : proto.attribute()) {
    const AttributeProto* value = TRY(Resolve(attribute, environment));
    if (value == nullptr) continue;
    AttributeProto* copy = resolved.add_attribute();
    *copy = *value;
    copy->set_name(attribute.name());
  }
  return resolved;
}

Status ReadAttributes(const onnx::NodeProto& proto, const AttributeEnvironment* environment,
                      TensorSource& source, Node* node) {
  for (const AttributeProto& attribute : proto.attribute()) {
    const AttributeProto* value = TRY(Resolve(attribute, environment));
    if (value == nullptr) continue;
    AttributeProto::AttributeType type = value->type();
    if (type == AttributeProto::GRAPH) {
      // Read by the reader, in place; a function's attribute that is a graph has no scope to be
      // read in.
      if (value != &attribute)
        return base::Unimplemented("a function's attribute must not be a graph");
      TRY(CheckKnown(attribute, *node->op));
      continue;
    }
    if (node->Has(attribute.name())) {
      return base::InvalidArgument("attribute '" + attribute.name() + "' is listed twice");
    }
    Result<AttributeValue> read = ValueOf(*value, source);
    if (!read.ok()) return std::move(read).error();
    node->attributes.push_back({attribute.name(), *std::move(read)});
    AttributeProto header;
    header.set_name(attribute.name());
    header.set_type(type);
    TRY(CheckKnown(header, *node->op));
  }
  return Ok();
}

Result<Tensor> ReadConstantValue(const onnx::NodeProto& proto,
                                 const AttributeEnvironment* environment, TensorSource& source) {
  if (proto.attribute_size() != 1)
    return base::InvalidArgument("a Constant has exactly one attribute");
  const AttributeProto* attribute = TRY(Resolve(proto.attribute(0), environment));
  if (attribute == nullptr) return base::InvalidArgument("a Constant has no value");
  const std::string& name = proto.attribute(0).name();
  if (name == "sparse_value") return base::Unimplemented("sparse constants are not supported");
  const AttributeValue value = TRY(ValueOf(*attribute, source));
  const auto list = [](DType dtype, const auto& values, bool scalar) {
    Tensor tensor{
        dtype, scalar ? Shape() : Shape({static_cast<int64_t>(values.size())}),
        tensor::Buffer::Allocate(static_cast<int64_t>(values.size() * sizeof(values[0])))};
    std::copy(values.begin(), values.end(),
              reinterpret_cast<std::remove_const_t<std::remove_reference_t<decltype(values[0])>>*>(
                  tensor.buffer.mutable_data()));
    return tensor;
  };
  if (const auto* tensor = std::get_if<Tensor>(&value); tensor != nullptr && name == "value")
    return *tensor;
  if (const auto* v = std::get_if<int64_t>(&value); v != nullptr && name == "value_int") {
    return list(DType::kI64, std::vector<int64_t>{*v}, true);
  }
  if (const auto* v = std::get_if<float>(&value); v != nullptr && name == "value_float") {
    return list(DType::kF32, std::vector<float>{*v}, true);
  }
  if (const auto* v = std::get_if<std::string>(&value); v != nullptr && name == "value_string") {
    return Tensor::FromStrings(Shape(), {*v});
  }
  if (const auto* v = std::get_if<std::vector<int64_t>>(&value);
      v != nullptr && name == "value_ints") {
    return list(DType::kI64, *v, false);
  }
  if (const auto* v = std::get_if<std::vector<float>>(&value);
      v != nullptr && name == "value_floats") {
    return list(DType::kF32, *v, false);
  }
  if (const auto* v = std::get_if<std::vector<std::string>>(&value);
      v != nullptr && name == "value_strings") {
    return Tensor::FromStrings(Shape({static_cast<int64_t>(v->size())}), *v);
  }
  return base::InvalidArgument("attribute '" + name + "' is not a value of that type");
}

}  // namespace sluice::graph

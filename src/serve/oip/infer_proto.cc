#include "serve/oip/infer_proto.h"

#include <algorithm>
#include <limits>

#include "serve/oip/shm_regions.h"
#include "serve/oip/tensors.h"

namespace sluice::serve {

using base::InvalidArgument;
using inference::InferParameter;
using inference::InferTensorContents;
using inference::ModelInferRequest;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

namespace {

using ParameterMap = google::protobuf::Map<std::string, InferParameter>;

std::string Quoted(std::string_view name) {
  return "'" + std::string(name.substr(0, 128)) + "'";
}

base::Result<engine::Parameter> ParameterOf(const std::string& key, const InferParameter& p) {
  switch (p.parameter_choice_case()) {
    case InferParameter::kBoolParam:
      return engine::Parameter(p.bool_param());
    case InferParameter::kInt64Param:
      return engine::Parameter(p.int64_param());
    case InferParameter::kUint64Param:
      return engine::Parameter(p.uint64_param());
    case InferParameter::kDoubleParam:
      return engine::Parameter(p.double_param());
    case InferParameter::kStringParam:
      return engine::Parameter(p.string_param());
    case InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return InvalidArgument("parameter " + Quoted(key) + " has no value");
}

base::Result<int64_t> CountOf(const std::string& key, const InferParameter& p) {
  if (p.parameter_choice_case() == InferParameter::kInt64Param && p.int64_param() >= 0)
    return p.int64_param();
  if (p.parameter_choice_case() == InferParameter::kUint64Param && p.uint64_param() <= INT64_MAX) {
    return static_cast<int64_t>(p.uint64_param());
  }
  return InvalidArgument("parameter " + Quoted(key) + ": expected an integer >= 0");
}

struct Placement {
  int64_t classes = 0;
  bool in_shm = false;
  ShmSlice shm;
};

base::Result<Placement> PlacementOf(const ParameterMap& parameters) {
  Placement placement;
  for (const auto& [key, value] : parameters) {
    if (key == "shared_memory_region") {
      placement.shm.region = value.string_param();
      placement.in_shm = true;
    } else if (key == "shared_memory_offset") {
      placement.shm.offset = TRY(CountOf(key, value));
    } else if (key == "shared_memory_byte_size") {
      placement.shm.bytes = TRY(CountOf(key, value));
    } else if (key == "classification") {
      placement.classes = TRY(CountOf(key, value));
    }
  }
  return placement;
}

bool HasContents(const InferTensorContents& c) {
  return c.bool_contents_size() + c.int_contents_size() + c.int64_contents_size() +
             c.uint_contents_size() + c.uint64_contents_size() + c.fp32_contents_size() +
             c.fp64_contents_size() + c.bytes_contents_size() >
         0;
}

base::Error WrongCount(std::string_view name, int64_t expected, int64_t got, const char* field) {
  return InvalidArgument("input " + Quoted(name) + ": expected " + std::to_string(expected) +
                         " elements in " + field + ", got " + std::to_string(got));
}

template <class To, class From>
base::Result<Tensor> Copy(DType dtype, const Shape& shape, const From& from, std::string_view name,
                          const char* field) {
  if (from.size() != shape.elements())
    return WrongCount(name, shape.elements(), from.size(), field);
  Tensor tensor{dtype, shape,
                tensor::Buffer::Allocate(shape.elements() * tensor::DTypeSize(dtype))};
  To* to = tensor.mutable_view().as<To>();
  for (int i = 0; i < from.size(); ++i) {
    if constexpr (sizeof(To) < sizeof(from[0])) {
      if (from[i] < std::numeric_limits<To>::min() || from[i] > std::numeric_limits<To>::max()) {
        return InvalidArgument("input " + Quoted(name) + ": " + std::to_string(from[i]) +
                               " is no " + std::string(DTypeName(dtype)));
      }
    }
    to[i] = static_cast<To>(from[i]);
  }
  return tensor;
}

base::Result<Tensor> FromContents(DType dtype, const Shape& shape, const InferTensorContents& c,
                                  std::string_view name) {
  switch (dtype) {
    case DType::kBool:
      return Copy<bool>(dtype, shape, c.bool_contents(), name, "bool_contents");
    case DType::kI8:
      return Copy<int8_t>(dtype, shape, c.int_contents(), name, "int_contents");
    case DType::kI16:
      return Copy<int16_t>(dtype, shape, c.int_contents(), name, "int_contents");
    case DType::kI32:
      return Copy<int32_t>(dtype, shape, c.int_contents(), name, "int_contents");
    case DType::kI64:
      return Copy<int64_t>(dtype, shape, c.int64_contents(), name, "int64_contents");
    case DType::kU8:
      return Copy<uint8_t>(dtype, shape, c.uint_contents(), name, "uint_contents");
    case DType::kU16:
      return Copy<uint16_t>(dtype, shape, c.uint_contents(), name, "uint_contents");
    case DType::kU32:
      return Copy<uint32_t>(dtype, shape, c.uint_contents(), name, "uint_contents");
    case DType::kU64:
      return Copy<uint64_t>(dtype, shape, c.uint64_contents(), name, "uint64_contents");
    case DType::kF32:
      return Copy<float>(dtype, shape, c.fp32_contents(), name, "fp32_contents");
    case DType::kF64:
      return Copy<double>(dtype, shape, c.fp64_contents(), name, "fp64_contents");
    case DType::kBytes: {
      if (c.bytes_contents_size() != shape.elements()) {
        return WrongCount(name, shape.elements(), c.bytes_contents_size(), "bytes_contents");
      }
      StringTensorBuilder strings(shape.elements());
      for (const std::string& s : c.bytes_contents()) strings.Add(s);
      return strings.Build(shape);
    }
    default:
      break;
  }
  return InvalidArgument("input " + Quoted(name) + ": " + std::string(DTypeName(dtype)) +
                         " has no contents field: send it in raw_input_contents");
}

base::Result<Tensor> InputTensor(const ModelInferRequest& message,
                                 const ModelInferRequest::InferInputTensor& input, int& raw_index,
                                 const RequestLimits& limits, const ShmRegions* shm) {
  const std::string& name = input.name();
  DType dtype = TRY(DTypeOnWire(input.datatype(), name));
  Shape shape = TRY(ShapeOnWire({input.shape().data(), static_cast<size_t>(input.shape_size())},
                                dtype, name, limits));
  Placement placement;
  if (!input.parameters().empty()) placement = TRY(PlacementOf(input.parameters()));
  bool has_contents = input.has_contents() && HasContents(input.contents());
  if (placement.in_shm) {
    if (shm == nullptr)
      return base::Unimplemented("client shared memory is off: see --allow-client-shm");
    if (has_contents)
      return InvalidArgument("input " + Quoted(name) +
                             ": expected contents or shared memory, not both");
    tensor::Buffer bytes = TRY(shm->Read(placement.shm));
    std::string_view view(reinterpret_cast<const char*>(bytes.data()),
                          static_cast<size_t>(bytes.bytes()));
    return TensorFromRaw(dtype, shape, view, bytes, name);
  }
  if (message.raw_input_contents_size() == 0)
    return FromContents(dtype, shape, input.contents(), name);
  if (has_contents) {
    return InvalidArgument("input " + Quoted(name) +
                           ": contents field must not be specified when using raw_input_contents");
  }
  if (raw_index >= message.raw_input_contents_size()) {
    return InvalidArgument("expected raw_input_contents for every input, input " + Quoted(name) +
                           " has none");
  }
  return TensorFromRaw(dtype, shape, message.raw_input_contents(raw_index++), {}, name);
}

}  // namespace

base::Result<InferRequest> ParseInferMessage(const ModelInferRequest& message,
                                             const RequestLimits& limits, const ShmRegions* shm) {
  InferRequest infer;
  engine::Request& request = *infer.request;
  if (static_cast<int64_t>(message.id().size()) > limits.string_bytes_max)
    return InvalidArgument("'id' is too long");
  if (message.inputs_size() > limits.tensor_count_max ||
      message.outputs_size() > limits.tensor_count_max) {
    return InvalidArgument("more than " + std::to_string(limits.tensor_count_max) +
                           " inputs or outputs");
  }
  request.id = message.id();
  for (const auto& [key, value] : message.parameters()) {
    engine::Parameter typed = TRY(ParameterOf(key, value));
    TRY(TakeParameter(key, std::move(typed), limits, infer));
  }
  int raw_index = 0;
  request.inputs.reserve(static_cast<size_t>(message.inputs_size()));
  for (const auto& input : message.inputs()) {
    if (static_cast<int64_t>(input.name().size()) > limits.string_bytes_max) {
      return InvalidArgument("a tensor's name is too long");
    }
    Tensor tensor = TRY(InputTensor(message, input, raw_index, limits, shm));
    request.inputs.push_back({input.name(), std::move(tensor)});
  }
  if (raw_index < message.raw_input_contents_size()) {
    return InvalidArgument("expected " + std::to_string(raw_index) + " raw_input_contents, got " +
                           std::to_string(message.raw_input_contents_size()));
  }
  infer.outputs.reserve(static_cast<size_t>(message.outputs_size()));
  for (const auto& output : message.outputs()) {
    Placement placement = TRY(PlacementOf(output.parameters()));
    if (placement.in_shm && shm == nullptr) {
      return base::Unimplemented("client shared memory is off: see --allow-client-shm");
    }
    if (placement.in_shm && placement.classes > 0) {
      return InvalidArgument("output " + Quoted(output.name()) +
                             ": shared memory cannot be used with the classification extension");
    }
    WantedOutput wanted;
    wanted.name = output.name();
    wanted.classes = placement.classes;
    wanted.in_shm = placement.in_shm;
    wanted.shm = std::move(placement.shm);
    infer.outputs.push_back(std::move(wanted));
  }
  return infer;
}

namespace {

void SetParameter(const engine::Parameter& value, InferParameter& out) {
  if (const auto* b = std::get_if<bool>(&value)) {
    out.set_bool_param(*b);
  } else if (const auto* i = std::get_if<int64_t>(&value)) {
    out.set_int64_param(*i);
  } else if (const auto* u = std::get_if<uint64_t>(&value)) {
    out.set_uint64_param(*u);
  } else if (const auto* d = std::get_if<double>(&value)) {
    out.set_double_param(*d);
  } else {
    out.set_string_param(std::get<std::string>(value));
  }
}

base::Status FillOutput(const std::string& name, const Tensor& tensor, const WantedOutput* wanted,
                        const ShmRegions* shm, inference::ModelInferResponse& message) {
  auto& output = *message.add_outputs();
  output.set_name(name);
  std::string_view datatype = DTypeName(tensor.dtype);
  output.set_datatype(datatype.data(), datatype.size());
  for (int64_t dim : tensor.shape.dims()) output.add_shape(dim);
  if (wanted == nullptr || !wanted->in_shm) {
    std::string& raw = *message.add_raw_output_contents();
    raw.reserve(static_cast<size_t>(RawBytes(tensor)));
    AppendRaw(tensor, raw);
    return base::Ok();
  }
  if (shm == nullptr)
    return base::Unimplemented("client shared memory is off: see --allow-client-shm");
  std::string raw;
  AppendRaw(tensor, raw);
  TRY(shm->Write(wanted->shm, raw));
  auto& parameters = *output.mutable_parameters();
  parameters["shared_memory_region"].set_string_param(wanted->shm.region);
  parameters["shared_memory_byte_size"].set_int64_param(static_cast<int64_t>(raw.size()));
  parameters["shared_memory_offset"].set_int64_param(wanted->shm.offset);
  // Clients count raw_output_contents by position: an output in shared memory keeps its place,
  // empty.
  message.add_raw_output_contents();
  return base::Ok();
}

}  // namespace

base::Status FillInferResponse(const AnswerShape& shape, const engine::Reply& reply,
                               const ShmRegions* shm, inference::ModelInferResponse& message) {
  message.set_model_name(shape.model->name);
  message.set_model_version(shape.model->version_text);
  message.set_id(shape.id);
  for (const auto& [key, value] : reply.parameters)
    SetParameter(value, (*message.mutable_parameters())[key]);
  if (shape.outputs.empty()) {
    for (const tensor::NamedTensor& o : reply.outputs)
      TRY(FillOutput(o.name, o.tensor, nullptr, shm, message));
    return base::Ok();
  }
  for (const WantedOutput& wanted : shape.outputs) {
    auto found = std::find_if(reply.outputs.begin(), reply.outputs.end(),
                              [&](const tensor::NamedTensor& o) { return o.name == wanted.name; });
    if (found == reply.outputs.end())
      return base::Internal("the model gave no output " + Quoted(wanted.name));
    if (wanted.classes == 0) {
      TRY(FillOutput(found->name, found->tensor, &wanted, shm, message));
      continue;
    }
    bool has_batch = shape.model->description().batch_rows_max > 0;
    Tensor classes = TRY(Classify(found->tensor, wanted.classes, has_batch, wanted.name));
    TRY(FillOutput(found->name, classes, &wanted, shm, message));
  }
  return base::Ok();
}

}  // namespace sluice::serve

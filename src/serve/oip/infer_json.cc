#include "serve/oip/infer_json.h"

#include <array>

#include "serve/oip/shm_regions.h"
#include "serve/oip/tensors.h"

namespace sluice::serve {

using base::InvalidArgument;
using base::JsonKind;
using base::JsonValue;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

namespace {

std::string Quoted(std::string_view name) {
  return "'" + std::string(name.substr(0, 128)) + "'";
}

base::Result<engine::Parameter> ParameterOf(std::string_view key, JsonValue value) {
  switch (value.kind()) {
    case JsonKind::kBool:
      return engine::Parameter(TRY(value.AsBool()));
    case JsonKind::kInt:
      return engine::Parameter(TRY(value.AsInt()));
    case JsonKind::kUint:
      return engine::Parameter(TRY(value.AsUint()));
    case JsonKind::kDouble:
      return engine::Parameter(TRY(value.AsDouble()));
    case JsonKind::kString:
      return engine::Parameter(std::string(TRY(value.AsString())));
    default:
      return InvalidArgument("parameter " + Quoted(key) + ": expected a boolean, number or string");
  }
}

// The parameters of one input or output that speak of where its bytes are.
struct Placement {
  bool has_binary_size = false;
  int64_t binary_size = 0;
  bool binary = false;
  bool says_binary = false;
  int64_t classes = 0;
  bool in_shm = false;
  ShmSlice shm;
};

base::Status TakePlacement(std::string_view key, JsonValue value, Placement& placement) {
  if (key == "binary_data_size") {
    placement.binary_size = TRY(value.AsInt());
    if (placement.binary_size < 0) return InvalidArgument("binary_data_size: expected >= 0");
    placement.has_binary_size = true;
  } else if (key == "binary_data") {
    placement.binary = TRY(value.AsBool());
    placement.says_binary = true;
  } else if (key == "classification") {
    placement.classes = TRY(value.AsInt());
    if (placement.classes < 0) return InvalidArgument("classification: expected >= 0");
  } else if (key == "shared_memory_region") {
    placement.shm.region = TRY(value.AsString());
    placement.in_shm = true;
  } else if (key == "shared_memory_byte_size") {
    placement.shm.bytes = TRY(value.AsInt());
  } else if (key == "shared_memory_offset") {
    placement.shm.offset = TRY(value.AsInt());
  }
  return base::Ok();
}

base::Result<Placement> PlacementOf(JsonValue tensor) {
  Placement placement;
  std::optional<JsonValue> parameters = TRY(tensor.Find("parameters"));
  if (!parameters) return placement;
  TRY(parameters->ForEachMember(
      [&](std::string_view key, JsonValue value) { return TakePlacement(key, value, placement); }));
  return placement;
}

template <class T>
base::Status ReadInto(JsonValue data, Tensor& tensor) {
  return data.ReadNumbers(tensor.mutable_view().span<T>());
}

base::Status ReadNumbers(JsonValue data, Tensor& tensor) {
  switch (tensor.dtype) {
    case DType::kF32:
      return ReadInto<float>(data, tensor);
    case DType::kF64:
      return ReadInto<double>(data, tensor);
    case DType::kI8:
      return ReadInto<int8_t>(data, tensor);
    case DType::kI16:
      return ReadInto<int16_t>(data, tensor);
    case DType::kI32:
      return ReadInto<int32_t>(data, tensor);
    case DType::kI64:
      return ReadInto<int64_t>(data, tensor);
    case DType::kU8:
      return ReadInto<uint8_t>(data, tensor);
    case DType::kU16:
      return ReadInto<uint16_t>(data, tensor);
    case DType::kU32:
      return ReadInto<uint32_t>(data, tensor);
    case DType::kU64:
      return ReadInto<uint64_t>(data, tensor);
    case DType::kBool:
      return ReadInto<bool>(data, tensor);
    default:
      return InvalidArgument(std::string(DTypeName(tensor.dtype)) +
                             " has no JSON form: send it as binary data");
  }
}

base::Result<Tensor> TensorFromJson(JsonValue data, DType dtype, const Shape& shape,
                                    std::string_view name, int64_t text_bytes) {
  int64_t elements = shape.elements();
  // Every element takes at least one byte of the text: nothing larger than what came is allocated.
  if (elements > text_bytes) {
    return InvalidArgument("input " + Quoted(name) + ": shape " + shape.ToString() +
                           " has more elements than came");
  }
  if (dtype == DType::kBytes) {
    StringTensorBuilder strings(elements);
    base::Status read = data.ReadStrings(elements, [&](std::string_view s) { strings.Add(s); });
    if (!read.ok()) return InvalidArgument("input " + Quoted(name) + ": " + read.error().message);
    return strings.Build(shape);
  }
  Tensor tensor{dtype, shape, tensor::Buffer::Allocate(elements * tensor::DTypeSize(dtype))};
  base::Status read = ReadNumbers(data, tensor);
  if (!read.ok()) return InvalidArgument("input " + Quoted(name) + ": " + read.error().message);
  return tensor;
}

base::Result<Shape> ShapeOf(JsonValue value, DType dtype, std::string_view name,
                            const RequestLimits& limits) {
  if (!value.is_array())
    return InvalidArgument("input " + Quoted(name) + ": expected an array as shape");
  if (value.size() > tensor::kMaxRank) {
    return InvalidArgument("input " + Quoted(name) + ": expected at most " +
                           std::to_string(tensor::kMaxRank) + " dimensions, got " +
                           std::to_string(value.size()));
  }
  std::array<int64_t, tensor::kMaxRank> dims{};
  size_t rank = 0;
  base::Status read = value.ForEachElement([&](JsonValue dim) -> base::Status {
    dims[rank] = TRY(dim.AsInt());
    ++rank;
    return base::Ok();
  });
  if (!read.ok())
    return InvalidArgument("input " + Quoted(name) + ": shape: " + read.error().message);
  return ShapeOnWire({dims.data(), rank}, dtype, name, limits);
}

class BodyReader {
 public:
  BodyReader(const InferBody& body, const RequestLimits& limits) : body_(body), limits_(limits) {}

  base::Result<InferRequest> Read(base::JsonDocument& document) {
    json_bytes_ =
        body_.json_bytes < 0 ? static_cast<int64_t>(body_.bytes.size()) : body_.json_bytes;
    binary_ = body_.bytes.substr(static_cast<size_t>(json_bytes_));
    base::Result<JsonValue> root =
        document.Parse(body_.bytes.substr(0, static_cast<size_t>(json_bytes_)));
    if (!root.ok())
      return InvalidArgument("failed to parse the request JSON: " + root.error().message);
    if (!root->is_object()) return InvalidArgument("expected a JSON object as request");
    bool has_inputs = false;
    TRY(root->ForEachMember([&](std::string_view key, JsonValue value) -> base::Status {
      if (key == "inputs") {
        if (has_inputs) return InvalidArgument("'inputs' occurs twice");
        has_inputs = true;
        return Inputs(value);
      }
      return Member(key, value);
    }));
    if (!has_inputs)
      return InvalidArgument("Unable to parse 'inputs': attempt to access JSON non-object");
    if (!binary_.empty()) {
      return InvalidArgument("unexpected additional input data: " + std::to_string(binary_.size()) +
                             " bytes behind the last tensor");
    }
    // A request-level default reaches the outputs that did not say themselves, wherever in the JSON
    // it stood.
    for (size_t i = 0; i < infer_.outputs.size(); ++i) {
      if (!says_binary_[i]) infer_.outputs[i].binary = infer_.binary_outputs;
    }
    return std::move(infer_);
  }

 private:
  base::Status Member(std::string_view key, JsonValue value) {
    if (key == "id") {
      if (!value.is_string()) return InvalidArgument("'id': expected a string");
      std::string_view id = TRY(value.AsString());
      if (static_cast<int64_t>(id.size()) > limits_.string_bytes_max)
        return InvalidArgument("'id' is too long");
      infer_.request->id = id;
    } else if (key == "parameters") {
      return value.ForEachMember([&](std::string_view name, JsonValue parameter) -> base::Status {
        engine::Parameter typed = TRY(ParameterOf(name, parameter));
        return TakeParameter(name, std::move(typed), limits_, infer_);
      });
    } else if (key == "outputs") {
      return Outputs(value);
    }
    return base::Ok();
  }

  base::Status CheckCount(JsonValue list, std::string_view what) {
    if (!list.is_array()) return InvalidArgument("'" + std::string(what) + "': expected an array");
    if (list.size() > limits_.tensor_count_max) {
      return InvalidArgument("more than " + std::to_string(limits_.tensor_count_max) + " " +
                             std::string(what));
    }
    return base::Ok();
  }

  base::Status Inputs(JsonValue list) {
    TRY(CheckCount(list, "inputs"));
    infer_.request->inputs.reserve(static_cast<size_t>(list.size()));
    return list.ForEachElement([&](JsonValue input) { return Input(input); });
  }

  base::Result<std::string> Name(JsonValue object) {
    JsonValue value = TRY(object.Get("name"));
    std::string_view name = TRY(value.AsString());
    if (static_cast<int64_t>(name.size()) > limits_.string_bytes_max)
      return InvalidArgument("a tensor's name is too long");
    return std::string(name);
  }

  base::Status Input(JsonValue input) {
    if (!input.is_object()) return InvalidArgument("'inputs': expected objects");
    std::string name = TRY(Name(input));
    JsonValue datatype = TRY(input.Get("datatype"));
    std::string_view datatype_name = TRY(datatype.AsString());
    DType dtype = TRY(DTypeOnWire(datatype_name, name));
    JsonValue dims = TRY(input.Get("shape"));
    Shape shape = TRY(ShapeOf(dims, dtype, name, limits_));
    Placement placement = TRY(PlacementOf(input));
    std::optional<JsonValue> data = TRY(input.Find("data"));
    int sources = (data ? 1 : 0) + (placement.has_binary_size ? 1 : 0) + (placement.in_shm ? 1 : 0);
    if (sources != 1) {
      return InvalidArgument(
          "input " + Quoted(name) +
          ": expected exactly one of 'data', 'binary_data_size' and 'shared_memory_region'");
    }
    Tensor tensor;
    if (data) {
      tensor = TRY(TensorFromJson(*data, dtype, shape, name, json_bytes_));
    } else if (placement.in_shm) {
      tensor = TRY(FromShm(placement.shm, dtype, shape, name));
    } else {
      tensor = TRY(FromBinary(placement.binary_size, dtype, shape, name));
    }
    infer_.request->inputs.push_back({std::move(name), std::move(tensor)});
    return base::Ok();
  }

  base::Result<Tensor> FromBinary(int64_t bytes, DType dtype, const Shape& shape,
                                  std::string_view name) {
    if (bytes > static_cast<int64_t>(binary_.size())) {
      return InvalidArgument("input " + Quoted(name) + ": expected " + std::to_string(bytes) +
                             " bytes of binary data, " + std::to_string(binary_.size()) +
                             " are left in the body");
    }
    std::string_view raw = binary_.substr(0, static_cast<size_t>(bytes));
    binary_.remove_prefix(static_cast<size_t>(bytes));
    return TensorFromRaw(dtype, shape, raw, body_.owner, name);
  }

  base::Result<Tensor> FromShm(const ShmSlice& slice, DType dtype, const Shape& shape,
                               std::string_view name) {
    if (body_.shm == nullptr)
      return base::Unimplemented("client shared memory is off: see --allow-client-shm");
    tensor::Buffer bytes = TRY(body_.shm->Read(slice));
    return TensorFromRaw(
        dtype, shape,
        {reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(bytes.bytes())}, bytes,
        name);
  }

  base::Status Outputs(JsonValue list) {
    TRY(CheckCount(list, "outputs"));
    return list.ForEachElement([&](JsonValue output) -> base::Status {
      if (!output.is_object()) return InvalidArgument("'outputs': expected objects");
      WantedOutput wanted;
      wanted.name = TRY(Name(output));
      Placement placement = TRY(PlacementOf(output));
      wanted.binary = placement.binary;
      wanted.classes = placement.classes;
      wanted.in_shm = placement.in_shm;
      wanted.shm = placement.shm;
      if (wanted.in_shm && body_.shm == nullptr) {
        return base::Unimplemented("client shared memory is off: see --allow-client-shm");
      }
      if (wanted.in_shm && wanted.classes > 0) {
        return InvalidArgument("output " + Quoted(wanted.name) +
                               ": shared memory cannot be used with the classification extension");
      }
      infer_.outputs.push_back(std::move(wanted));
      says_binary_.push_back(placement.says_binary);
      return base::Ok();
    });
  }

  const InferBody& body_;
  const RequestLimits& limits_;
  InferRequest infer_;
  std::vector<bool> says_binary_;
  std::string_view binary_;
  int64_t json_bytes_ = 0;
};

}  // namespace

base::Result<int64_t> ParseHeaderLength(std::string_view text, int64_t body_bytes) {
  int64_t value = 0;
  bool ok = !text.empty() && text.size() <= 18;
  for (char c : text) {
    if (c < '0' || c > '9') ok = false;
    if (ok) value = value * 10 + (c - '0');
  }
  if (!ok || value > body_bytes) {
    return InvalidArgument("Inference-Header-Content-Length: expected a number of at most " +
                           std::to_string(body_bytes) + ", the length of the body");
  }
  return value;
}

base::Result<InferRequest> ParseInferBody(const InferBody& body, const RequestLimits& limits,
                                          base::JsonDocument& document) {
  return BodyReader(body, limits).Read(document);
}

base::Result<InferRequest> RawInferBody(const InferBody& body, const engine::Description& d,
                                        const RequestLimits& limits) {
  if (d.inputs.size() != 1) {
    return InvalidArgument("a raw binary request needs a model with one input, model " +
                           Quoted(d.model) + " has " + std::to_string(d.inputs.size()));
  }
  const engine::TensorSpec& spec = d.inputs[0];
  std::array<int64_t, tensor::kMaxRank> dims{};
  if (spec.dims.size() > dims.size())
    return InvalidArgument("input " + Quoted(spec.name) + " has too many dimensions");
  int64_t bytes = static_cast<int64_t>(body.bytes.size());
  int64_t known = tensor::DTypeSize(spec.dtype);
  int variable = -1;
  for (size_t i = 0; i < spec.dims.size(); ++i) {
    bool is_batch = i == 0 && d.batch_rows_max > 0;
    dims[i] = is_batch ? 1 : spec.dims[i];
    if (dims[i] >= 0) {
      if (__builtin_mul_overflow(known, dims[i], &known))
        return InvalidArgument("the model's input is too large");
      continue;
    }
    if (variable >= 0) {
      return InvalidArgument(
          "a raw binary request needs at most one dimension of variable size in input " +
          Quoted(spec.name));
    }
    variable = static_cast<int>(i);
  }
  if (variable >= 0) {
    dims[static_cast<size_t>(variable)] =
        spec.dtype == DType::kBytes || known == 0 ? 1 : bytes / known;
  }
  InferRequest infer;
  Shape shape = TRY(ShapeOnWire({dims.data(), spec.dims.size()}, spec.dtype, spec.name, limits));
  Tensor tensor;
  if (spec.dtype == DType::kBytes) {
    if (shape.elements() != 1)
      return InvalidArgument("a raw binary request of strings needs an input of one element");
    tensor = Tensor::FromStrings(shape, {std::string(body.bytes)});
  } else {
    tensor = TRY(TensorFromRaw(spec.dtype, shape, body.bytes, body.owner, spec.name));
  }
  infer.request->inputs.push_back({spec.name, std::move(tensor)});
  infer.binary_outputs = true;
  return infer;
}

}  // namespace sluice::serve

#include "bin/synthetic_request.h"

#include <cstring>
#include <random>

#include "base/json.h"

namespace sluice::bin {
namespace {

using tensor::DType;

constexpr int64_t kTensorBytesMax = int64_t{256} << 20;

template <class T>
void AppendRaw(T value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

base::Status Fill(SyntheticTensor& tensor, int64_t elements, const RequestSizes& sizes,
                  std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  const bool mask = tensor.name.find("mask") != std::string::npos;
  const auto integer = [&] {
    return mask ? int64_t{1}
                : static_cast<int64_t>(random() % static_cast<uint64_t>(sizes.integer_max + 1));
  };
  for (int64_t i = 0; i < elements; ++i) {
    switch (tensor.dtype) {
      case DType::kF32:
        AppendRaw(normal(random), tensor.bytes);
        break;
      case DType::kF64:
        AppendRaw(static_cast<double>(normal(random)), tensor.bytes);
        break;
      case DType::kI64:
      case DType::kU64:
        AppendRaw(integer(), tensor.bytes);
        break;
      case DType::kI32:
      case DType::kU32:
        AppendRaw(static_cast<int32_t>(integer()), tensor.bytes);
        break;
      case DType::kI8:
      case DType::kU8:
      case DType::kBool:
        AppendRaw(static_cast<int8_t>(integer()), tensor.bytes);
        break;
      case DType::kBytes: {
        const std::string text = "a program that draws graphs of measured data";
        AppendRaw(static_cast<uint32_t>(text.size()), tensor.bytes);
        tensor.bytes += text;
        break;
      }
      default:
        return base::Unimplemented("no synthetic values for input '" + tensor.name + "' of type " +
                                   std::string(tensor::DTypeName(tensor.dtype)));
    }
  }
  return base::Ok();
}

base::Result<SyntheticTensor> MakeTensor(base::JsonValue input, const RequestSizes& sizes,
                                         std::mt19937_64& random) {
  SyntheticTensor tensor;
  const base::JsonValue name = TRY(input.Get("name"));
  const base::JsonValue datatype = TRY(input.Get("datatype"));
  const base::JsonValue shape = TRY(input.Get("shape"));
  tensor.name = TRY(name.AsString());
  const std::string_view dtype = TRY(datatype.AsString());
  const auto known = tensor::DTypeFromName(dtype);
  if (!known.has_value()) return base::Unimplemented("datatype " + std::string(dtype));
  tensor.dtype = *known;
  int64_t elements = 1;
  const auto take_dim = [&](base::JsonValue value) -> base::Status {
    int64_t dim = TRY(value.AsInt());
    if (dim < 0) dim = tensor.shape.empty() ? sizes.batch : sizes.length;
    tensor.shape.push_back(dim);
    if (__builtin_mul_overflow(elements, dim, &elements) || elements > kTensorBytesMax / 8) {
      return base::InvalidArgument("input '" + tensor.name + "' would be too large");
    }
    return base::Ok();
  };
  TRY(shape.ForEachElement(take_dim));
  if (tensor.dtype == DType::kBytes && tensor.shape.size() > 1) {
    tensor.shape.back() = 1;  // one text a row
    elements = tensor.shape[0];
  }
  TRY(Fill(tensor, elements, sizes, random));
  return tensor;
}

void WriteHead(base::JsonWriter& json, const SyntheticTensor& tensor) {
  json.BeginObject().Key("name").String(tensor.name).Key("datatype");
  json.String(tensor::DTypeName(tensor.dtype)).Key("shape").BeginArray();
  for (const int64_t dim : tensor.shape) json.Int(dim);
  json.EndArray();
}

template <class T>
void WriteNumbers(base::JsonWriter& json, const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  json.Numbers(std::span<const T>(values));
}

void WriteData(base::JsonWriter& json, const SyntheticTensor& tensor) {
  switch (tensor.dtype) {
    case DType::kF32:
      return WriteNumbers<float>(json, tensor.bytes);
    case DType::kF64:
      return WriteNumbers<double>(json, tensor.bytes);
    case DType::kI64:
      return WriteNumbers<int64_t>(json, tensor.bytes);
    case DType::kU64:
      return WriteNumbers<uint64_t>(json, tensor.bytes);
    case DType::kI32:
      return WriteNumbers<int32_t>(json, tensor.bytes);
    case DType::kU32:
      return WriteNumbers<uint32_t>(json, tensor.bytes);
    case DType::kBytes: {
      json.BeginArray();
      for (size_t at = 0; at + sizeof(uint32_t) <= tensor.bytes.size();) {
        uint32_t length = 0;
        std::memcpy(&length, tensor.bytes.data() + at, sizeof length);
        json.String(std::string_view(tensor.bytes).substr(at + sizeof length, length));
        at += sizeof length + length;
      }
      json.EndArray();
      return;
    }
    default:
      return WriteNumbers<int8_t>(json, tensor.bytes);
  }
}

std::string Target(const std::string& model) {
  return "/v2/models/" + model + "/infer";
}

}  // namespace

base::Result<std::vector<SyntheticTensor>> MakeTensors(serve::HttpClient& client,
                                                       const std::string& model,
                                                       const RequestSizes& sizes) {
  const serve::HttpReply reply = TRY(client.Send("GET", "/v2/models/" + model));
  if (reply.status != 200) {
    return base::NotFound("the server has no metadata of '" + model + "': status " +
                          std::to_string(reply.status) + " " + reply.body);
  }
  base::JsonDocument document;
  const base::JsonValue metadata = TRY(document.Parse(reply.body));
  std::mt19937_64 random(sizes.seed);
  std::vector<SyntheticTensor> tensors;
  bool text = false;
  const base::JsonValue inputs = TRY(metadata.Get("inputs"));
  const auto take_input = [&](base::JsonValue input) -> base::Status {
    const base::JsonValue name_value = TRY(input.Get("name"));
    const std::string_view name = TRY(name_value.AsString());
    if (name == "text_pair") return base::Ok();
    if (name == "text") text = true;
    tensors.push_back(TRY(MakeTensor(input, sizes, random)));
    return base::Ok();
  };
  TRY(inputs.ForEachElement(take_input));
  if (text) {
    std::erase_if(tensors, [](const SyntheticTensor& tensor) { return tensor.name != "text"; });
  }
  return tensors;
}

std::string HttpJsonRequest(const std::string& model, const std::vector<SyntheticTensor>& tensors,
                            const std::string& parameters) {
  std::string body;
  base::JsonWriter json(body);
  json.BeginObject();
  if (!parameters.empty()) json.Key("parameters").Raw(parameters);
  json.Key("inputs").BeginArray();
  for (const SyntheticTensor& tensor : tensors) {
    WriteHead(json, tensor);
    json.Key("data");
    WriteData(json, tensor);
    json.EndObject();
  }
  json.EndArray().EndObject();
  return serve::HttpClient::Format("POST", Target(model), body,
                                   "Content-Type: application/json\r\n");
}

std::string HttpBinaryRequest(const std::string& model, const std::vector<SyntheticTensor>& tensors,
                              const std::string& parameters) {
  std::string head;
  base::JsonWriter json(head);
  json.BeginObject();
  json.Key("parameters");
  if (parameters.empty()) {
    json.BeginObject().Key("binary_data_output").Bool(true).EndObject();
  } else {
    json.Raw(parameters.substr(0, parameters.size() - 1) + ",\"binary_data_output\":true}");
  }
  json.Key("inputs").BeginArray();
  std::string data;
  for (const SyntheticTensor& tensor : tensors) {
    WriteHead(json, tensor);
    json.Key("parameters").BeginObject().Key("binary_data_size");
    json.Int(static_cast<int64_t>(tensor.bytes.size())).EndObject().EndObject();
    data += tensor.bytes;
  }
  json.EndArray().EndObject();
  const std::string header =
      "Inference-Header-Content-Length: " + std::to_string(head.size()) + "\r\n";
  return serve::HttpClient::Format("POST", Target(model), head + data, header);
}

inference::ModelInferRequest GrpcRequest(const std::string& model,
                                         const std::vector<SyntheticTensor>& tensors) {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  for (const SyntheticTensor& tensor : tensors) {
    auto* input = request.add_inputs();
    input->set_name(tensor.name);
    input->set_datatype(std::string(tensor::DTypeName(tensor.dtype)));
    for (const int64_t dim : tensor.shape) input->add_shape(dim);
    request.add_raw_input_contents(tensor.bytes);
  }
  return request;
}

}  // namespace sluice::bin

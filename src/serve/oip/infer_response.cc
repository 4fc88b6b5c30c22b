#include "serve/oip/infer_response.h"

#include <algorithm>
#include <numeric>

#include "base/json.h"
#include "serve/oip/shm_regions.h"
#include "serve/oip/tensors.h"
#include "tensor/float16.h"

namespace sluice::serve {

using tensor::DType;
using tensor::Tensor;

namespace {

constexpr int64_t kClassesMax = 10000;

void WriteParameter(base::JsonWriter& json, const engine::Parameter& value) {
  if (const auto* b = std::get_if<bool>(&value)) {
    json.Bool(*b);
  } else if (const auto* i = std::get_if<int64_t>(&value)) {
    json.Int(*i);
  } else if (const auto* u = std::get_if<uint64_t>(&value)) {
    json.Uint(*u);
  } else if (const auto* d = std::get_if<double>(&value)) {
    json.Double(*d);
  } else {
    json.String(std::get<std::string>(value));
  }
}

base::Status WriteData(base::JsonWriter& json, const Tensor& tensor, std::string_view name) {
  tensor::ConstView view = tensor.view();
  switch (tensor.dtype) {
    case DType::kF32:
      json.Numbers(view.span<float>());
      return base::Ok();
    case DType::kF64:
      json.Numbers(view.span<double>());
      return base::Ok();
    case DType::kI8:
      json.Numbers(view.span<int8_t>());
      return base::Ok();
    case DType::kI16:
      json.Numbers(view.span<int16_t>());
      return base::Ok();
    case DType::kI32:
      json.Numbers(view.span<int32_t>());
      return base::Ok();
    case DType::kI64:
      json.Numbers(view.span<int64_t>());
      return base::Ok();
    case DType::kU8:
      json.Numbers(view.span<uint8_t>());
      return base::Ok();
    case DType::kU16:
      json.Numbers(view.span<uint16_t>());
      return base::Ok();
    case DType::kU32:
      json.Numbers(view.span<uint32_t>());
      return base::Ok();
    case DType::kU64:
      json.Numbers(view.span<uint64_t>());
      return base::Ok();
    case DType::kBool:
      json.Numbers(view.span<bool>());
      return base::Ok();
    case DType::kBytes:
      json.BeginArray();
      for (std::string_view s : view.span<std::string_view>()) json.String(s);
      json.EndArray();
      return base::Ok();
    default:
      break;
  }
  return base::InvalidArgument("output '" + std::string(name) +
                               "': " + std::string(DTypeName(tensor.dtype)) +
                               " has no JSON form: ask for binary data");
}

double ScoreAt(const Tensor& t, int64_t i) {
  switch (t.dtype) {
    case DType::kF32:
      return static_cast<double>(t.view().as<float>()[i]);
    case DType::kF64:
      return t.view().as<double>()[i];
    case DType::kF16:
      return static_cast<double>(tensor::ToFloat(t.view().as<tensor::F16>()[i]));
    case DType::kBF16:
      return static_cast<double>(tensor::ToFloat(t.view().as<tensor::BF16>()[i]));
    case DType::kI32:
      return static_cast<double>(t.view().as<int32_t>()[i]);
    case DType::kI64:
      return static_cast<double>(t.view().as<int64_t>()[i]);
    case DType::kU8:
      return static_cast<double>(t.view().as<uint8_t>()[i]);
    default:
      return 0;
  }
}

bool HasScores(DType dtype) {
  return tensor::IsFloat(dtype) || dtype == DType::kI32 || dtype == DType::kI64 ||
         dtype == DType::kU8;
}

}  // namespace

std::string ErrorJson(std::string_view text) {
  std::string out;
  base::JsonWriter(out).BeginObject().Key("error").String(text).EndObject();
  return out;
}

base::Result<Tensor> Classify(const Tensor& scores, int64_t classes, bool has_batch,
                              std::string_view name) {
  if (!HasScores(scores.dtype)) {
    return base::InvalidArgument("class result not available for output '" + std::string(name) +
                                 "' due to datatype " + std::string(DTypeName(scores.dtype)));
  }
  bool rows_first = has_batch && scores.shape.rank() > 1;
  int64_t rows = rows_first ? scores.shape.dim(0) : 1;
  int64_t width = rows == 0 ? 0 : scores.shape.elements() / rows;
  int64_t count = std::min({classes, width, kClassesMax});
  StringTensorBuilder strings(rows * count);
  std::vector<int64_t> order(static_cast<size_t>(width));
  for (int64_t row = 0; row < rows; ++row) {
    std::iota(order.begin(), order.end(), 0);
    auto above = [&](int64_t a, int64_t b) {
      double x = ScoreAt(scores, row * width + a);
      double y = ScoreAt(scores, row * width + b);
      // NaN last, ties by index: a strict order whatever the model gave.
      bool x_nan = x != x;
      bool y_nan = y != y;
      if (x_nan != y_nan) return y_nan;
      return !x_nan && x != y ? x > y : a < b;
    };
    std::partial_sort(order.begin(), order.begin() + count, order.end(), above);
    for (int64_t i = 0; i < count; ++i) {
      std::string text;
      char digits[32];
      snprintf(digits, sizeof digits, "%f",
               ScoreAt(scores, row * width + order[static_cast<size_t>(i)]));
      text = digits;
      text += ':';
      text += std::to_string(order[static_cast<size_t>(i)]);
      strings.Add(text);
    }
  }
  return strings.Build(rows_first ? tensor::Shape{rows, count} : tensor::Shape{count});
}

namespace {

class AnswerWriter {
 public:
  AnswerWriter(const AnswerShape& shape, const ShmRegions* shm)
      : shape_(shape), shm_(shm), json_(answer_.json) {}

  base::Result<InferAnswer> Write(const engine::Reply& reply) {
    json_.BeginObject();
    if (!shape_.id.empty()) json_.Key("id").String(shape_.id);
    json_.Key("model_name")
        .String(shape_.model->name)
        .Key("model_version")
        .String(shape_.model->version_text);
    if (!reply.parameters.empty()) {
      json_.Key("parameters").BeginObject();
      for (const auto& [key, value] : reply.parameters) {
        json_.Key(key);
        WriteParameter(json_, value);
      }
      json_.EndObject();
    }
    json_.Key("outputs").BeginArray();
    if (shape_.outputs.empty()) {
      WantedOutput as_default;
      as_default.binary = shape_.binary_outputs;
      for (const tensor::NamedTensor& output : reply.outputs) TRY(Output(output, as_default));
    }
    for (const WantedOutput& wanted : shape_.outputs) {
      auto found =
          std::find_if(reply.outputs.begin(), reply.outputs.end(),
                       [&](const tensor::NamedTensor& o) { return o.name == wanted.name; });
      if (found == reply.outputs.end())
        return base::Internal("the model gave no output '" + wanted.name + "'");
      TRY(Output(*found, wanted));
    }
    json_.EndArray().EndObject();
    return std::move(answer_);
  }

 private:
  base::Status Output(const tensor::NamedTensor& output, const WantedOutput& wanted) {
    if (wanted.classes > 0) {
      bool has_batch = shape_.model->description().batch_rows_max > 0;
      return Place(output.name,
                   TRY(Classify(output.tensor, wanted.classes, has_batch, output.name)), wanted);
    }
    return Place(output.name, output.tensor, wanted);
  }

  base::Status Place(const std::string& name, const Tensor& tensor, const WantedOutput& wanted) {
    json_.BeginObject().Key("name").String(name).Key("datatype").String(DTypeName(tensor.dtype));
    json_.Key("shape").Numbers(tensor.shape.dims());
    if (wanted.in_shm) {
      TRY(ToShm(tensor, wanted.shm));
    } else if (wanted.binary) {
      tensor::Buffer raw = RawBuffer(tensor);
      json_.Key("parameters").BeginObject().Key("binary_data_size").Int(raw.bytes()).EndObject();
      answer_.blobs.push_back(std::move(raw));
      answer_.has_binary = true;
    } else {
      json_.Key("data");
      TRY(WriteData(json_, tensor, name));
    }
    json_.EndObject();
    return base::Ok();
  }

  base::Status ToShm(const Tensor& tensor, const ShmSlice& slice) {
    if (shm_ == nullptr)
      return base::Unimplemented("client shared memory is off: see --allow-client-shm");
    tensor::Buffer raw = RawBuffer(tensor);
    TRY(shm_->Write(slice,
                    {reinterpret_cast<const char*>(raw.data()), static_cast<size_t>(raw.bytes())}));
    json_.Key("parameters").BeginObject();
    json_.Key("shared_memory_region")
        .String(slice.region)
        .Key("shared_memory_offset")
        .Int(slice.offset);
    json_.Key("shared_memory_byte_size").Int(raw.bytes()).EndObject();
    return base::Ok();
  }

  const AnswerShape& shape_;
  const ShmRegions* shm_;
  InferAnswer answer_;
  base::JsonWriter json_;
};

}  // namespace

base::Result<InferAnswer> WriteInferAnswer(const AnswerShape& shape, const engine::Reply& reply,
                                           const ShmRegions* shm) {
  return AnswerWriter(shape, shm).Write(reply);
}

}  // namespace sluice::serve

#include "bin/calibration.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "bin/npz.h"

namespace sluice::bin {
namespace {

using tensor::DType;

constexpr int64_t kFileBytesMax = int64_t{1} << 32;
constexpr int64_t kTensorBytesMax = int64_t{1} << 32;
constexpr int64_t kRowsAtOnce = 64;

template <class F>
base::Status WithNumbers(DType dtype, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kF64:
      return f(double{});
    case DType::kI64:
      return f(int64_t{});
    case DType::kI32:
      return f(int32_t{});
    case DType::kI16:
      return f(int16_t{});
    case DType::kI8:
      return f(int8_t{});
    case DType::kU8:
      return f(uint8_t{});
    case DType::kBool:
      return f(bool{});
    default:
      return base::Unimplemented(std::string(tensor::DTypeName(dtype)) +
                                 " inputs are not supported in calibration data");
  }
}

base::Result<tensor::Tensor> Converted(const tensor::Tensor& from, DType dtype) {
  if (from.dtype == dtype) return from;
  tensor::Tensor to = TRY(tensor::Tensor::Allocate(dtype, from.shape, kTensorBytesMax));
  const int64_t count = from.shape.elements();
  TRY(WithNumbers(dtype, [&](auto to_one) {
    using To = decltype(to_one);
    return WithNumbers(from.dtype, [&](auto from_one) {
      using From = decltype(from_one);
      const From* const x = from.view().as<From>();
      To* const y = to.mutable_view().as<To>();
      for (int64_t i = 0; i < count; ++i) y[i] = static_cast<To>(x[i]);
      return base::Ok();
    });
  }));
  return to;
}

base::Result<tensor::Tensor> ReadTensor(base::JsonValue input) {
  const base::JsonValue type_name = TRY(input.Get("datatype"));
  const std::string_view type_text = TRY(type_name.AsString());
  const std::optional<DType> dtype = tensor::DTypeFromName(type_text);
  if (!dtype.has_value())
    return base::InvalidArgument("no datatype: '" + std::string(type_text) + "'");
  const base::JsonValue shape = TRY(input.Get("shape"));
  if (shape.size() > tensor::kMaxRank) return base::InvalidArgument("a rank above 8");
  std::vector<int64_t> dims(static_cast<size_t>(shape.size()));
  TRY(shape.ReadNumbers(std::span<int64_t>(dims)));
  const tensor::Shape read_shape = TRY(tensor::Shape::FromDims(dims));
  tensor::Tensor tensor = TRY(tensor::Tensor::Allocate(*dtype, read_shape, kTensorBytesMax));
  const base::JsonValue data = TRY(input.Get("data"));
  TRY(WithNumbers(*dtype, [&](auto one) {
    return data.ReadNumbers(tensor.mutable_view().span<decltype(one)>());
  }));
  return tensor;
}

// The request's tensors in the order of the model's inputs.
base::Status AddRequest(const std::map<std::string, tensor::Tensor>& given,
                        const graph::Model& model, Calibration& calibration) {
  std::vector<tensor::Tensor> tensors;
  int64_t rows = 1;
  for (const graph::TensorInterface& input : model.inputs()) {
    const auto found = given.find(input.name);
    if (found == given.end()) {
      return base::InvalidArgument("the calibration data have no '" + input.name +
                                   "', which the model takes");
    }
    tensors.push_back(TRY(Converted(found->second, input.dtype)));
    if (tensors.size() == 1 && tensors[0].shape.rank() > 0) rows = tensors[0].shape[0];
  }
  calibration.requests.push_back(std::move(tensors));
  calibration.row_count += rows;
  return base::Ok();
}

// Rows [begin, end) of the first axis.
tensor::Tensor Rows(const tensor::Tensor& all, int64_t begin, int64_t end) {
  tensor::Shape shape({end - begin});
  for (int axis = 1; axis < all.shape.rank(); ++axis) shape.Append(all.shape[axis]);
  const int64_t row_bytes = all.shape.elements(1, all.shape.rank()) * tensor::DTypeSize(all.dtype);
  tensor::Tensor part{all.dtype, shape, tensor::Buffer::Allocate((end - begin) * row_bytes)};
  const auto* const from = static_cast<const std::byte*>(all.view().data) + begin * row_bytes;
  std::memcpy(part.buffer.mutable_data(), from, static_cast<size_t>((end - begin) * row_bytes));
  return part;
}

base::Status AddRows(const std::map<std::string, tensor::Tensor>& arrays, const graph::Model& model,
                     Calibration& calibration) {
  int64_t rows = -1;  // 0: not all inputs have the same rows
  for (const graph::TensorInterface& input : model.inputs()) {
    const auto found = arrays.find(input.name);
    if (found == arrays.end() || found->second.shape.rank() == 0 || input.dims.empty() ||
        input.dims[0] >= 0) {
      rows = 0;
      break;
    }
    const int64_t own = found->second.shape[0];
    rows = rows < 0 || rows == own ? own : 0;
  }
  if (rows <= kRowsAtOnce) return AddRequest(arrays, model, calibration);
  for (int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
    std::map<std::string, tensor::Tensor> part;
    for (const graph::TensorInterface& input : model.inputs()) {
      part[input.name] = Rows(arrays.at(input.name), begin, std::min(rows, begin + kRowsAtOnce));
    }
    TRY(AddRequest(part, model, calibration));
  }
  return base::Ok();
}

base::Status ReadJson(const std::string& text, const std::string& labels, const graph::Model& model,
                      Calibration& calibration) {
  base::JsonDocument document({.bytes_max = static_cast<size_t>(kFileBytesMax)});
  const base::JsonValue root = TRY(document.Parse(text));
  const auto add = [&](base::JsonValue request) -> base::Status {
    std::map<std::string, tensor::Tensor> arrays;
    const auto read = [&](base::JsonValue input) -> base::Status {
      const base::JsonValue name_value = TRY(input.Get("name"));
      const std::string name(TRY(name_value.AsString()));
      base::Result<tensor::Tensor> tensor = ReadTensor(input);
      if (!tensor.ok())
        return base::InvalidArgument("input '" + name + "': " + tensor.error().message);
      arrays[name] = *std::move(tensor);
      return base::Ok();
    };
    const base::JsonValue inputs = TRY(request.Get("inputs"));
    TRY(inputs.ForEachElement(read));
    return AddRequest(arrays, model, calibration);
  };
  const std::optional<base::JsonValue> requests = TRY(root.Find("requests"));
  if (requests.has_value()) {
    TRY(requests->ForEachElement(add));
  } else {
    TRY(add(root));
  }
  const std::optional<base::JsonValue> wanted = TRY(root.Find(labels));
  if (!wanted.has_value()) return base::Ok();
  calibration.labels.resize(static_cast<size_t>(wanted->CountScalars()));
  return wanted->ReadNumbers(std::span<float>(calibration.labels));
}

}  // namespace

base::Result<Calibration> ReadCalibration(const std::string& path, const std::string& labels,
                                          const graph::Model& model) {
  Calibration calibration;
  const std::string file = TRY(base::ReadFile(path, kFileBytesMax));
  const std::string name = labels.empty() ? "labels" : labels;
  if (path.size() > 4 && path.substr(path.size() - 4) == ".npz") {
    const std::map<std::string, tensor::Tensor> arrays = TRY(ReadNpz(file));
    TRY(AddRows(arrays, model, calibration));
    if (const auto found = arrays.find(name); found != arrays.end()) {
      const tensor::Tensor values = TRY(Converted(found->second, DType::kF32));
      const auto span = values.view().span<float>();
      calibration.labels.assign(span.begin(), span.end());
    }
  } else {
    TRY(ReadJson(file, name, model, calibration));
  }
  if (calibration.row_count == 0) return base::InvalidArgument(path + " holds no rows");
  if (!labels.empty() && calibration.labels.empty())
    return base::InvalidArgument(path + " holds no labels '" + labels + "'");
  if (!calibration.labels.empty() &&
      static_cast<int64_t>(calibration.labels.size()) != calibration.row_count) {
    return base::InvalidArgument(path + " holds " + std::to_string(calibration.labels.size()) +
                                 " labels for " + std::to_string(calibration.row_count) + " rows");
  }
  return calibration;
}

}  // namespace sluice::bin

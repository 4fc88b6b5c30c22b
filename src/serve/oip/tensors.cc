#include "serve/oip/tensors.h"

#include <cstring>
#include <memory>
#include <new>

namespace sluice::serve {

using tensor::Buffer;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

namespace {

std::string Quoted(std::string_view name) {
  return "'" + std::string(name.substr(0, 128)) + "'";
}

bool IsAligned(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % tensor::kAlignment == 0;
}

uint32_t ReadLength(const char* p) {
  uint32_t n;
  std::memcpy(&n, p, sizeof n);
  return n;
}

base::Result<Tensor> StringsFromRaw(const Shape& shape, std::string_view raw,
                                    std::string_view name) {
  int64_t count = shape.elements();
  // Each element takes at least its four bytes of length: this bounds the count by what really
  // came.
  if (count > static_cast<int64_t>(raw.size() / 4)) {
    return base::InvalidArgument("input " + Quoted(name) + ": expected " + std::to_string(count) +
                                 " strings, got " + std::to_string(raw.size()) + " bytes");
  }
  int64_t table_bytes = count * static_cast<int64_t>(sizeof(std::string_view));
  Tensor tensor{DType::kBytes, shape,
                Buffer::Allocate(table_bytes + static_cast<int64_t>(raw.size()))};
  char* text = reinterpret_cast<char*>(tensor.buffer.mutable_data()) + table_bytes;
  if (!raw.empty()) std::memcpy(text, raw.data(), raw.size());
  auto* table = reinterpret_cast<std::string_view*>(tensor.buffer.mutable_data());
  size_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (raw.size() - at < 4) {
      return base::InvalidArgument("input " + Quoted(name) + ": the length of string " +
                                   std::to_string(i) + " is cut off");
    }
    size_t length = ReadLength(raw.data() + at);
    at += 4;
    if (raw.size() - at < length) {
      return base::InvalidArgument("input " + Quoted(name) + ": string " + std::to_string(i) +
                                   " has " + std::to_string(length) + " bytes, " +
                                   std::to_string(raw.size() - at) + " are left");
    }
    new (&table[i]) std::string_view(text + at, length);
    at += length;
  }
  if (at != raw.size()) {
    return base::InvalidArgument("input " + Quoted(name) + ": " + std::to_string(raw.size() - at) +
                                 " bytes behind its last string");
  }
  return tensor;
}

}  // namespace

base::Result<DType> DTypeOnWire(std::string_view datatype, std::string_view tensor_name) {
  std::optional<DType> dtype = tensor::DTypeFromName(datatype);
  if (!dtype) {
    return base::InvalidArgument("invalid datatype " + Quoted(datatype) + " of " +
                                 Quoted(tensor_name));
  }
  return *dtype;
}

base::Result<Shape> ShapeOnWire(std::span<const int64_t> dims, DType dtype,
                                std::string_view tensor_name, const RequestLimits& limits) {
  base::Result<Shape> shape = Shape::FromDims(dims);
  if (!shape.ok())
    return base::InvalidArgument("input " + Quoted(tensor_name) + ": " + shape.error().message);
  if (shape->elements() > limits.tensor_elements_max) {
    return base::InvalidArgument("input " + Quoted(tensor_name) + ": shape " + shape->ToString() +
                                 " has more than " + std::to_string(limits.tensor_elements_max) +
                                 " elements");
  }
  base::Result<int64_t> bytes = tensor::CheckedBytes(*shape, tensor::DTypeSize(dtype));
  if (!bytes.ok() || *bytes > limits.tensor_bytes_max) {
    return base::InvalidArgument("input " + Quoted(tensor_name) + ": shape " + shape->ToString() +
                                 " takes more than " + std::to_string(limits.tensor_bytes_max) +
                                 " bytes");
  }
  return shape;
}

base::Result<Tensor> TensorFromRaw(DType dtype, const Shape& shape, std::string_view raw,
                                   const Buffer& owner, std::string_view tensor_name) {
  if (dtype == DType::kBytes) return StringsFromRaw(shape, raw, tensor_name);
  int64_t bytes = TRY(tensor::CheckedBytes(shape, tensor::DTypeSize(dtype)));
  if (bytes != static_cast<int64_t>(raw.size())) {
    return base::InvalidArgument("input " + Quoted(tensor_name) + ": expected " +
                                 std::to_string(bytes) + " bytes for shape " + shape.ToString() +
                                 ", got " + std::to_string(raw.size()));
  }
  Tensor tensor{dtype, shape, {}};
  if (owner && IsAligned(raw.data()) && bytes > 0 && dtype != DType::kBool) {
    tensor.buffer = Buffer::Wrap(std::make_shared<Buffer>(owner), raw.data(), bytes);
    return tensor;
  }
  tensor.buffer = Buffer::Allocate(bytes);
  if (bytes > 0) std::memcpy(tensor.buffer.mutable_data(), raw.data(), raw.size());
  if (dtype == DType::kBool) {
    // Any byte may come; a bool that is neither 0 nor 1 would be undefined behaviour downstream.
    auto* values = reinterpret_cast<uint8_t*>(tensor.buffer.mutable_data());
    for (int64_t i = 0; i < bytes; ++i) values[i] = values[i] != 0;
  }
  return tensor;
}

int64_t RawBytes(const Tensor& tensor) {
  if (tensor.dtype != DType::kBytes) return tensor.view().bytes();
  int64_t bytes = 0;
  for (std::string_view s : tensor.view().span<std::string_view>())
    bytes += 4 + static_cast<int64_t>(s.size());
  return bytes;
}

void AppendRaw(const Tensor& tensor, std::string& out) {
  if (tensor.dtype != DType::kBytes) {
    out.append(reinterpret_cast<const char*>(tensor.buffer.data()),
               static_cast<size_t>(tensor.view().bytes()));
    return;
  }
  for (std::string_view s : tensor.view().span<std::string_view>()) {
    uint32_t length = static_cast<uint32_t>(s.size());
    out.append(reinterpret_cast<const char*>(&length), sizeof length);
    out.append(s);
  }
}

Buffer RawBuffer(const Tensor& tensor) {
  if (tensor.dtype != DType::kBytes) {
    auto keep = std::make_shared<Buffer>(tensor.buffer);
    return Buffer::Wrap(keep, tensor.buffer.data(), tensor.view().bytes());
  }
  auto bytes = std::make_shared<std::string>();
  bytes->reserve(static_cast<size_t>(RawBytes(tensor)));
  AppendRaw(tensor, *bytes);
  return Buffer::Wrap(bytes, bytes->data(), static_cast<int64_t>(bytes->size()));
}

Tensor StringTensorBuilder::Build(const Shape& shape) const {
  CHECK_EQ(static_cast<int64_t>(ends_.size()), shape.elements());
  int64_t table_bytes = static_cast<int64_t>(ends_.size() * sizeof(std::string_view));
  Tensor tensor{DType::kBytes, shape,
                Buffer::Allocate(table_bytes + static_cast<int64_t>(bytes_.size()))};
  char* text = reinterpret_cast<char*>(tensor.buffer.mutable_data()) + table_bytes;
  if (!bytes_.empty()) std::memcpy(text, bytes_.data(), bytes_.size());
  auto* table = reinterpret_cast<std::string_view*>(tensor.buffer.mutable_data());
  size_t begin = 0;
  for (size_t i = 0; i < ends_.size(); ++i) {
    new (&table[i]) std::string_view(text + begin, ends_[i] - begin);
    begin = ends_[i];
  }
  return tensor;
}

}  // namespace sluice::serve

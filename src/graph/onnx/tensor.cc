#include "graph/onnx/tensor.h"

#include <charconv>
#include <cstring>

#include "graph/ops/rules.h"
#include "onnx/onnx-ml.pb.h"
#include "tensor/float16.h"
#include "tensor/narrow.h"

namespace sluice::graph {

using base::Result;
using base::Status;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

Result<tensor::Buffer> TensorSource::ReadFile(const std::string& location, int64_t offset,
                                              int64_t length) {
  if (folder_ == nullptr)
    return base::InvalidArgument("external data is not allowed here: '" + location + "'");
  auto found = files_.find(location);
  if (found == files_.end()) {
    if (files_.size() >= static_cast<size_t>(kExternalFilesMax)) {
      return base::ResourceExhausted("the model's tensors lie in more than " +
                                     std::to_string(kExternalFilesMax) + " files");
    }
    const base::FileHandle file = TRY(base::OpenBeneath(*folder_, location));
    auto mapped =
        std::make_shared<const base::MappedFile>(TRY(base::MappedFile::Map(file, location)));
    found = files_.emplace(location, std::move(mapped)).first;
  }
  const base::MappedFile& file = *found->second;
  if (offset < 0 || length < 0 || offset > file.size() || length > file.size() - offset) {
    return base::InvalidArgument("external data '" + location + "' has " +
                                 std::to_string(file.size()) + " bytes, expected " +
                                 std::to_string(length) + " at " + std::to_string(offset));
  }
  return tensor::Buffer::Wrap(found->second, file.data() + offset, length);
}

Status TensorSource::TakeInline(int64_t bytes) {
  if (bytes > inline_bytes_left_) {
    return base::ResourceExhausted(
        "the tensors stored in the model file need more bytes than the limit");
  }
  inline_bytes_left_ -= bytes;
  return base::Ok();
}

namespace {

std::string Describe(const onnx::TensorProto& proto) {
  return "tensor '" + proto.name() + "': ";
}

Result<int64_t> ParseInt(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return base::InvalidArgument("'" + text + "' is not a number");
  }
  return value;
}

// Bytes of a mapped file, which lie as the file has them: no element need be aligned.
class FileBytes final : public tensor::DeferredBytes {
 public:
  FileBytes(std::shared_ptr<const void> owner, std::span<const std::byte> bytes)
      : DeferredBytes(static_cast<int64_t>(bytes.size())), owner_(std::move(owner)), raw_(bytes) {}

  void Describe(Origin& origin) const override {
    origin.pieces.push_back(made() ? std::span(data(), raw_.size()) : raw_);
  }

 private:
  void Write(std::byte* to) const override { std::memcpy(to, raw_.data(), raw_.size()); }

  const std::shared_ptr<const void> owner_;
  const std::span<const std::byte> raw_;
};

tensor::Buffer InFile(std::shared_ptr<const void> owner, std::span<const std::byte> bytes) {
  return tensor::Buffer::Defer(std::make_shared<const FileBytes>(std::move(owner), bytes));
}

constexpr int64_t kLeftInFileMin = 64 << 10;

Result<Tensor> FromFile(const onnx::TensorProto& proto, TensorSource& source, DType dtype,
                        const Shape& shape, int64_t bytes) {
  std::string location;
  int64_t offset = 0;
  int64_t length = bytes;
  for (const onnx::StringStringEntryProto& entry : proto.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") offset = TRY(ParseInt(entry.value()));
    if (entry.key() == "length") length = TRY(ParseInt(entry.value()));
  }
  if (length != bytes) {
    return base::InvalidArgument("external data of " + std::to_string(length) +
                                 " bytes, the shape needs " + std::to_string(bytes));
  }
  const tensor::Buffer mapped = TRY(source.ReadFile(location, offset, length));
  const bool aligned = reinterpret_cast<uintptr_t>(mapped.data()) % tensor::kAlignment == 0;
  // Booleans are copied below, since a mapped byte may be neither 0 nor 1.
  if (aligned && dtype != DType::kBool) return Tensor{dtype, shape, mapped};
  if (bytes >= kLeftInFileMin && dtype != DType::kBool) {
    const std::span raw(mapped.data(), static_cast<size_t>(bytes));
    return Tensor{dtype, shape, InFile(std::make_shared<const tensor::Buffer>(mapped), raw)};
  }
  Tensor copy{dtype, shape, tensor::Buffer::Allocate(bytes)};
  if (bytes > 0) std::memcpy(copy.buffer.mutable_data(), mapped.data(), static_cast<size_t>(bytes));
  return copy;
}

template <class Stored, class Element>
void Convert(const Stored& stored, Element* to) {
  for (const auto value : stored) {
    if constexpr (std::is_same_v<Element, tensor::F16> || std::is_same_v<Element, tensor::BF16>) {
      (to++)->bits = static_cast<uint16_t>(value);
    } else {
      *to++ = static_cast<Element>(value);
    }
  }
}

template <class Stored>
Status Fill(const Stored& stored, Tensor& tensor) {
  if (stored.size() != tensor.shape.elements()) {
    return base::InvalidArgument("has " + std::to_string(stored.size()) + " elements, the shape " +
                                 tensor.shape.ToString() + " needs " +
                                 std::to_string(tensor.shape.elements()));
  }
  const tensor::View view = tensor.mutable_view();
  switch (tensor.dtype) {
    case DType::kF32:
      Convert(stored, view.as<float>());
      break;
    case DType::kF64:
      Convert(stored, view.as<double>());
      break;
    case DType::kF16:
      Convert(stored, view.as<tensor::F16>());
      break;
    case DType::kBF16:
      Convert(stored, view.as<tensor::BF16>());
      break;
    case DType::kI8:
      Convert(stored, view.as<int8_t>());
      break;
    case DType::kI16:
      Convert(stored, view.as<int16_t>());
      break;
    case DType::kI32:
      Convert(stored, view.as<int32_t>());
      break;
    case DType::kI64:
      Convert(stored, view.as<int64_t>());
      break;
    case DType::kU8:
      Convert(stored, view.as<uint8_t>());
      break;
    case DType::kU16:
      Convert(stored, view.as<uint16_t>());
      break;
    case DType::kU32:
      Convert(stored, view.as<uint32_t>());
      break;
    case DType::kU64:
      Convert(stored, view.as<uint64_t>());
      break;
    case DType::kBool:
      Convert(stored, view.as<uint8_t>());
      break;
    default:
      return base::Internal("not an element type of numbers");
  }
  return base::Ok();
}

// Which typed field holds a type: the table in onnx.proto's comment.
Status FillFromFields(const onnx::TensorProto& proto, Tensor& tensor) {
  switch (tensor.dtype) {
    case DType::kF32:
      return Fill(proto.float_data(), tensor);
    case DType::kF64:
      return Fill(proto.double_data(), tensor);
    case DType::kI64:
      return Fill(proto.int64_data(), tensor);
    case DType::kU32:
    case DType::kU64:
      return Fill(proto.uint64_data(), tensor);
    default:
      return Fill(proto.int32_data(), tensor);
  }
}

Result<Tensor> Strings(const onnx::TensorProto& proto, const Shape& shape) {
  if (proto.has_raw_data()) return base::InvalidArgument("strings cannot be raw data");
  if (proto.string_data_size() != shape.elements()) {
    return base::InvalidArgument("has " + std::to_string(proto.string_data_size()) +
                                 " strings, the shape " + shape.ToString() + " needs " +
                                 std::to_string(shape.elements()));
  }
  return Tensor::FromStrings(shape, {proto.string_data().begin(), proto.string_data().end()});
}

// Storage types lie packed in the file, in its raw data, the low bytes of its int32 field or
// elsewhere.
Result<Tensor> Storage(const onnx::TensorProto& proto, TensorSource& source, DType dtype,
                       const Shape& shape) {
  const int64_t count = shape.elements();
  const int64_t per_byte = 8 / tensor::StorageBits(dtype);
  const int64_t packed_bytes = count / per_byte + (count % per_byte != 0 ? 1 : 0);
  if (count > source.tensor_bytes_max()) {
    return base::ResourceExhausted(std::to_string(count) + " bytes are above the limit of " +
                                   std::to_string(source.tensor_bytes_max()));
  }
  Tensor packed{DType::kU8, Shape({packed_bytes}), {}};
  std::string fields;
  const std::byte* from = nullptr;
  int64_t stored = 0;
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    packed = TRY(FromFile(proto, source, DType::kU8, packed.shape, packed_bytes));
    from = packed.buffer.data();
    stored = packed_bytes;
  } else if (proto.has_raw_data()) {
    from = reinterpret_cast<const std::byte*>(proto.raw_data().data());
    stored = static_cast<int64_t>(proto.raw_data().size());
  } else {
    for (const int32_t value : proto.int32_data()) fields.push_back(static_cast<char>(value));
    from = reinterpret_cast<const std::byte*>(fields.data());
    stored = proto.int32_data_size();
  }
  if (stored != packed_bytes) {
    return base::InvalidArgument("has " + std::to_string(stored) + " bytes, the shape " +
                                 shape.ToString() + " needs " + std::to_string(packed_bytes));
  }
  TRY(source.TakeInline(count));
  Tensor tensor{dtype, shape, tensor::Buffer::Allocate(count)};
  tensor::UnpackStorage(dtype, from, count, tensor.buffer.mutable_data());
  return tensor;
}

Result<Tensor> Parse(const onnx::TensorProto& proto, TensorSource& source) {
  const std::optional<DType> dtype = DTypeFromOnnx(proto.data_type());
  if (!dtype.has_value()) {
    const std::string name = onnx::TensorProto_DataType_IsValid(proto.data_type())
                                 ? onnx::TensorProto_DataType_Name(proto.data_type())
                                 : std::to_string(proto.data_type());
    return base::Unimplemented("element type " + name + " is not supported");
  }
  if (proto.has_segment()) return base::Unimplemented("segments are not supported");
  const Shape shape =
      TRY(Shape::FromDims({proto.dims().data(), static_cast<size_t>(proto.dims_size())}));
  const int64_t bytes = TRY(tensor::CheckedBytes(shape, tensor::DTypeSize(*dtype)));
  if (tensor::IsStorage(*dtype)) return Storage(proto, source, *dtype, shape);
  if (bytes > source.tensor_bytes_max()) {
    return base::ResourceExhausted(std::to_string(bytes) + " bytes are above the limit of " +
                                   std::to_string(source.tensor_bytes_max()));
  }
  if (*dtype == DType::kBytes) {
    TRY(source.TakeInline(static_cast<int64_t>(proto.ByteSizeLong())));
    return Strings(proto, shape);
  }
  Tensor tensor{*dtype, shape, {}};
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    tensor = TRY(FromFile(proto, source, *dtype, shape, bytes));
  } else if (proto.has_raw_data()) {
    if (static_cast<int64_t>(proto.raw_data().size()) != bytes) {
      return base::InvalidArgument("has " + std::to_string(proto.raw_data().size()) +
                                   " bytes, the shape " + shape.ToString() + " needs " +
                                   std::to_string(bytes));
    }
    TRY(source.TakeInline(bytes));
    tensor.buffer = tensor::Buffer::Allocate(bytes);
    if (bytes > 0)
      std::memcpy(tensor.buffer.mutable_data(), proto.raw_data().data(),
                  static_cast<size_t>(bytes));
  } else {
    // The fields bound what is allocated: fewer elements than the shape says are refused before.
    const int64_t stored =
        std::max({proto.float_data_size(), proto.double_data_size(), proto.int64_data_size(),
                  proto.uint64_data_size(), proto.int32_data_size()});
    if (stored < shape.elements()) {
      return base::InvalidArgument("has " + std::to_string(stored) + " elements, the shape " +
                                   shape.ToString() + " needs " + std::to_string(shape.elements()));
    }
    TRY(source.TakeInline(bytes));
    tensor.buffer = tensor::Buffer::Allocate(bytes);
    TRY(FillFromFields(proto, tensor));
  }
  if (tensor.dtype == DType::kBool) {
    auto* flags = reinterpret_cast<uint8_t*>(tensor.buffer.mutable_data());
    for (int64_t i = 0; i < bytes; ++i) flags[i] = flags[i] != 0 ? 1 : 0;
  }
  return tensor;
}

}  // namespace

Result<Tensor> TensorFromProto(const onnx::TensorProto& proto, TensorSource& source) {
  Result<Tensor> tensor = Parse(proto, source);
  if (tensor.ok()) return tensor;
  return base::Error{tensor.error().code, Describe(proto) + tensor.error().message};
}

Result<Tensor> TensorFromParts(onnx::TensorProto& proto, std::string_view raw,
                               TensorSource& source) {
  const std::optional<DType> dtype = DTypeFromOnnx(proto.data_type());
  const Result<Shape> shape =
      Shape::FromDims({proto.dims().data(), static_cast<size_t>(proto.dims_size())});
  const bool plain = dtype.has_value() && !tensor::IsStorage(*dtype) && *dtype != DType::kBytes &&
                     *dtype != DType::kBool && !proto.has_segment() &&
                     proto.data_location() != onnx::TensorProto::EXTERNAL && shape.ok();
  const auto size = static_cast<int64_t>(raw.size());
  const Result<int64_t> bytes =
      plain ? tensor::CheckedBytes(*shape, tensor::DTypeSize(*dtype)) : Result<int64_t>(-1);
  if (!bytes.ok() || *bytes != size || size > source.tensor_bytes_max()) {
    // Its own way, or an error there that says what is wrong.
    proto.set_raw_data(raw.data(), raw.size());
    return TensorFromProto(proto, source);
  }
  TRY(source.TakeInline(size));
  if (source.file() != nullptr) {
    const auto* const data = reinterpret_cast<const std::byte*>(raw.data());
    return Tensor{*dtype, *shape, InFile(source.file(), {data, raw.size()})};
  }
  tensor::Buffer buffer = tensor::Buffer::AllocateLarge(size);
  std::memcpy(buffer.mutable_data(), raw.data(), raw.size());
  return Tensor{*dtype, *shape, std::move(buffer)};
}

Result<Tensor> ParseTensorProto(std::string_view bytes) {
  onnx::TensorProto proto;
  if (bytes.size() > INT32_MAX ||
      !proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return base::InvalidArgument("not a TensorProto");
  }
  TensorSource source(nullptr, GraphLimits());
  return TensorFromProto(proto, source);
}

}  // namespace sluice::graph

#include <cstring>
#include <utility>

#include "tensor/gguf.h"
#include "tensor/gguf_reader.h"

namespace sluice::tensor {
namespace {

using base::Result;
using base::Status;

template <class T>
T Read(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

bool IsInteger(GgufType type) {
  return type <= GgufType::kI32 || type == GgufType::kU64 || type == GgufType::kI64;
}

bool IsNegative(GgufType type, std::span<const std::byte> bytes) {
  switch (type) {
    case GgufType::kI8:
      return Read<int8_t>(bytes) < 0;
    case GgufType::kI16:
      return Read<int16_t>(bytes) < 0;
    case GgufType::kI32:
      return Read<int32_t>(bytes) < 0;
    case GgufType::kI64:
      return Read<int64_t>(bytes) < 0;
    default:
      return false;
  }
}

// The value's 64 bits, sign-extended.
uint64_t Bits(GgufType type, std::span<const std::byte> bytes) {
  switch (type) {
    case GgufType::kU8:
      return Read<uint8_t>(bytes);
    case GgufType::kI8:
      return static_cast<uint64_t>(int64_t{Read<int8_t>(bytes)});
    case GgufType::kU16:
      return Read<uint16_t>(bytes);
    case GgufType::kI16:
      return static_cast<uint64_t>(int64_t{Read<int16_t>(bytes)});
    case GgufType::kU32:
      return Read<uint32_t>(bytes);
    case GgufType::kI32:
      return static_cast<uint64_t>(int64_t{Read<int32_t>(bytes)});
    default:
      return Read<uint64_t>(bytes);
  }
}

}  // namespace

const char* GgufTypeName(GgufType type) {
  constexpr const char* kNames[kGgufTypeCount] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                                  "int32",  "float32", "bool",   "string", "array",
                                                  "uint64", "int64",   "float64"};
  return kNames[static_cast<size_t>(type)];
}

base::Error GgufValue::Mismatch(const char* expected) const {
  return base::InvalidArgument(std::string("expected ") + expected + ", it is " +
                               GgufTypeName(type_));
}

Result<uint64_t> GgufValue::AsUint() const {
  if (!IsInteger(type_)) return Mismatch("an integer");
  if (IsNegative(type_, bytes_)) {
    return base::InvalidArgument("expected an integer that is not negative");
  }
  return Bits(type_, bytes_);
}

Result<int64_t> GgufValue::AsInt() const {
  if (!IsInteger(type_)) return Mismatch("an integer");
  const uint64_t bits = Bits(type_, bytes_);
  if (type_ == GgufType::kU64 && bits > static_cast<uint64_t>(INT64_MAX)) {
    return base::InvalidArgument("expected an integer below 2^63, it is " + std::to_string(bits));
  }
  return static_cast<int64_t>(bits);
}

Result<double> GgufValue::AsDouble() const {
  if (type_ == GgufType::kF32) return double{Read<float>(bytes_)};
  if (type_ == GgufType::kF64) return Read<double>(bytes_);
  if (!IsInteger(type_)) return Mismatch("a number");
  const uint64_t bits = Bits(type_, bytes_);
  return IsNegative(type_, bytes_) ? static_cast<double>(static_cast<int64_t>(bits))
                                   : static_cast<double>(bits);
}

Result<bool> GgufValue::AsBool() const {
  if (type_ != GgufType::kBool) return Mismatch("a bool");
  return bytes_[0] != std::byte{0};
}

Result<std::string_view> GgufValue::AsString() const {
  if (type_ != GgufType::kString) return Mismatch("a string");
  return std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
}

Status GgufValue::ForEachElement(base::FunctionRef<Status(const GgufValue&)> visit) const {
  if (type_ != GgufType::kArray) return Mismatch("an array");
  size_t at = 0;
  for (int64_t i = 0; i < count_; ++i) TRY(visit(GgufReader::ValueAt(element_type_, bytes_, at)));
  return base::Ok();
}

Result<std::span<const std::byte>> GgufValue::PackedElements() const {
  if (type_ != GgufType::kArray || element_type_ == GgufType::kString ||
      element_type_ == GgufType::kArray) {
    return Mismatch("an array of numbers");
  }
  return bytes_;
}

}  // namespace sluice::tensor

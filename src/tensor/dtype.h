// Element types of tensors, their sizes and their names in the Open Inference Protocol.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice::tensor {

// kBytes elements are variable-length byte strings: in memory each is a std::string_view into
// storage that the tensor's buffer keeps alive. Every other type has the size that it has on the
// wire.
//
// From kF8E4M3FN on: storage types, which models keep weights in and nothing computes in or sends
// over the wire (narrow.h converts). Each element takes a byte, of which types narrower than 8 bits
// use the low bits, sign-extended for the signed integers.
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kBool,
  kBytes,
  kF8E4M3FN,
  kF8E4M3FNUZ,
  kF8E5M2,
  kF8E5M2FNUZ,
  kF8E8M0,
  kF4E2M1,
  kI4,
  kU4,
  kI2,
  kU2,
};
inline constexpr int kDTypeCount = 24;
inline constexpr int kWireTypeCount = 14;  // the first ones: what the Open Inference Protocol names

// Bytes of one element in memory; for kBytes the size of a std::string_view.
int64_t DTypeSize(DType dtype);
// "FP32", "INT64", "BYTES", …: the Open Inference Protocol's name; ONNX's of a storage type.
std::string_view DTypeName(DType dtype);
// Of the types that the protocol names: storage types are not read.
std::optional<DType> DTypeFromName(std::string_view name);

inline bool IsFloat(DType d) {
  return d == DType::kF32 || d == DType::kF16 || d == DType::kBF16 || d == DType::kF64;
}

inline bool IsStorage(DType d) {
  return static_cast<int>(d) >= kWireTypeCount;
}

// Maps a C++ element type to its DType: DTypeOf<float>. f16 and bf16 are the bit types of
// float16.h.
template <class T>
struct DTypeTrait;
template <>
struct DTypeTrait<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeTrait<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeTrait<int8_t> {
  static constexpr DType value = DType::kI8;
};
template <>
struct DTypeTrait<int16_t> {
  static constexpr DType value = DType::kI16;
};
template <>
struct DTypeTrait<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeTrait<int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeTrait<uint8_t> {
  static constexpr DType value = DType::kU8;
};
template <>
struct DTypeTrait<uint16_t> {
  static constexpr DType value = DType::kU16;
};
template <>
struct DTypeTrait<uint32_t> {
  static constexpr DType value = DType::kU32;
};
template <>
struct DTypeTrait<uint64_t> {
  static constexpr DType value = DType::kU64;
};
template <>
struct DTypeTrait<bool> {
  static constexpr DType value = DType::kBool;
};
template <>
struct DTypeTrait<std::string_view> {
  static constexpr DType value = DType::kBytes;
};
template <class T>
inline constexpr DType DTypeOf = DTypeTrait<T>::value;

}  // namespace sluice::tensor

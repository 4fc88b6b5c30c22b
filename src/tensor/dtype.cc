#include "tensor/dtype.h"

#include <array>

namespace sluice::tensor {
namespace {

struct Row {
  DType dtype;
  int64_t bytes;
  std::string_view name;
};

constexpr std::array<Row, kDTypeCount> kRows = {{
    {DType::kF32, 4, "FP32"},
    {DType::kF16, 2, "FP16"},
    {DType::kBF16, 2, "BF16"},
    {DType::kF64, 8, "FP64"},
    {DType::kI8, 1, "INT8"},
    {DType::kI16, 2, "INT16"},
    {DType::kI32, 4, "INT32"},
    {DType::kI64, 8, "INT64"},
    {DType::kU8, 1, "UINT8"},
    {DType::kU16, 2, "UINT16"},
    {DType::kU32, 4, "UINT32"},
    {DType::kU64, 8, "UINT64"},
    {DType::kBool, 1, "BOOL"},
    {DType::kBytes, sizeof(std::string_view), "BYTES"},
    {DType::kF8E4M3FN, 1, "FLOAT8E4M3FN"},
    {DType::kF8E4M3FNUZ, 1, "FLOAT8E4M3FNUZ"},
    {DType::kF8E5M2, 1, "FLOAT8E5M2"},
    {DType::kF8E5M2FNUZ, 1, "FLOAT8E5M2FNUZ"},
    {DType::kF8E8M0, 1, "FLOAT8E8M0"},
    {DType::kF4E2M1, 1, "FLOAT4E2M1"},
    {DType::kI4, 1, "INT4"},
    {DType::kU4, 1, "UINT4"},
    {DType::kI2, 1, "INT2"},
    {DType::kU2, 1, "UINT2"},
}};

}  // namespace

int64_t DTypeSize(DType dtype) {
  return kRows[static_cast<size_t>(dtype)].bytes;
}

std::string_view DTypeName(DType dtype) {
  return kRows[static_cast<size_t>(dtype)].name;
}

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name && !IsStorage(row.dtype)) return row.dtype;
  }
  return std::nullopt;
}

}  // namespace sluice::tensor

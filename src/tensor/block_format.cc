#include "tensor/block_format.h"

#include <array>
#include <string>

namespace sluice::tensor {
namespace {

struct Row {
  BlockFormat format;
  int64_t elements;
  int64_t bytes;
  std::string_view name;
  std::optional<DType> plain;
};

constexpr std::array<Row, kBlockFormatCount> kRows = {{
    {BlockFormat::kF32, 1, 4, "F32", DType::kF32},
    {BlockFormat::kF16, 1, 2, "F16", DType::kF16},
    {BlockFormat::kBF16, 1, 2, "BF16", DType::kBF16},
    {BlockFormat::kF64, 1, 8, "F64", DType::kF64},
    {BlockFormat::kI8, 1, 1, "I8", DType::kI8},
    {BlockFormat::kI16, 1, 2, "I16", DType::kI16},
    {BlockFormat::kI32, 1, 4, "I32", DType::kI32},
    {BlockFormat::kI64, 1, 8, "I64", DType::kI64},
    {BlockFormat::kQ8_0, 32, 34, "Q8_0", std::nullopt},
    {BlockFormat::kQ4_0, 32, 18, "Q4_0", std::nullopt},
    {BlockFormat::kQ4_1, 32, 20, "Q4_1", std::nullopt},
    {BlockFormat::kQ5_0, 32, 22, "Q5_0", std::nullopt},
    {BlockFormat::kQ5_1, 32, 24, "Q5_1", std::nullopt},
    {BlockFormat::kQ4_K, 256, 144, "Q4_K", std::nullopt},
    {BlockFormat::kQ5_K, 256, 176, "Q5_K", std::nullopt},
    {BlockFormat::kQ6_K, 256, 210, "Q6_K", std::nullopt},
}};

const Row& RowOf(BlockFormat format) {
  return kRows[static_cast<size_t>(format)];
}

}  // namespace

int64_t BlockElements(BlockFormat format) {
  return RowOf(format).elements;
}
int64_t BlockBytes(BlockFormat format) {
  return RowOf(format).bytes;
}
std::string_view BlockFormatName(BlockFormat format) {
  return RowOf(format).name;
}
std::optional<DType> PlainDType(BlockFormat format) {
  return RowOf(format).plain;
}

base::Result<int64_t> BlockRowBytes(BlockFormat format, int64_t elements) {
  const Row& row = RowOf(format);
  if (elements < 0 || elements % row.elements != 0) {
    return base::InvalidArgument("a row of " + std::to_string(elements) +
                                 " elements is no whole number of " + std::string(row.name) +
                                 " blocks of " + std::to_string(row.elements));
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / row.elements, row.bytes, &bytes)) {
    return base::InvalidArgument("a row of " + std::to_string(elements) + " elements of " +
                                 std::string(row.name) + " is too long");
  }
  return bytes;
}

}  // namespace sluice::tensor

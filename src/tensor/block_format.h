// The block formats of GGUF files: how many elements share a block, and how many bytes it takes.
// How a block's bytes become numbers is told by kernels/ref/blocks.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "tensor/dtype.h"

namespace sluice::tensor {

// Those from kQ8_0 on keep a scale, and some a minimum, beside each block's codes. The K formats
// have blocks of 256 with scales of their own for each 16 or 32 elements. All others are plain:
// blocks of one element.
enum class BlockFormat : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI8,
  kI16,
  kI32,
  kI64,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};
inline constexpr int kBlockFormatCount = 16;

int64_t BlockElements(BlockFormat format);
int64_t BlockBytes(BlockFormat format);
// "F16", "Q4_K", …: GGUF's name.
std::string_view BlockFormatName(BlockFormat format);
// The element type of a plain format; nullopt where elements share a block.
std::optional<DType> PlainDType(BlockFormat format);

// Bytes of a row of `elements`, at least 0. kInvalidArgument when it is no whole number of blocks
// or overflows int64.
base::Result<int64_t> BlockRowBytes(BlockFormat format, int64_t elements);

}  // namespace sluice::tensor

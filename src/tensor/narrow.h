// The storage types: floats of 8 and 4 bits and integers of 4 and 2, a byte each in memory,
// converted to and from wider numbers. Formats and rounding are those of ONNX's Cast.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace sluice::tensor {

inline bool IsNarrowInteger(DType d) {
  return d == DType::kI4 || d == DType::kU4 || d == DType::kI2 || d == DType::kU2;
}

// Bits of one element in a file: 8, 4 or 2 for storage types, which are packed there from the low
// bits of each byte on.
int StorageBits(DType dtype);

// What happens to numbers that the type lacks. Integers truncate and keep the low bits whatever is
// said here.
enum class NarrowRounding : uint8_t { kNearest, kUp, kDown };
struct NarrowOptions {
  bool saturate = true;  // beyond the largest number: that number, else infinity or NaN
  // Of kF8E8M0 alone, which has powers of two only; all others round to nearest, ties to even.
  NarrowRounding e8m0 = NarrowRounding::kUp;
};

// The number that the low bits of `bits` stand for: exact.
float DecodeNarrow(DType dtype, uint8_t bits);
// The byte that stands for x.
uint8_t EncodeNarrow(DType dtype, double x, const NarrowOptions& options = {});

// Elements in memory from `count` packed ones of a file, ceil(count * bits / 8) bytes.
void UnpackStorage(DType dtype, const std::byte* packed, int64_t count, std::byte* out);

}  // namespace sluice::tensor

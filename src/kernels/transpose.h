// Transposes, strided row copies and conversions: what moves bytes at the speed of memory.
#pragma once

#include <cstdint>

#include "kernels/work.h"
#include "tensor/dtype.h"

namespace sluice::kernels {

inline constexpr int kTransposeRank = 8;

// Axis i of y is axis perm[i] of x; both dense. element_bytes is 1, 2, 4, 8 or 16.
struct TransposeArgs {
  int rank = 0;
  int64_t shape[kTransposeRank] = {};  // of x
  int perm[kTransposeRank] = {};
  int element_bytes = 4;
  const void* x = nullptr;
  void* y = nullptr;
};
int64_t TransposeTiles(const TransposeArgs& args);
void Transpose(const TransposeArgs& args, Tiles tiles);
Work TransposeWork(const TransposeArgs& args);

// `rows` runs of `bytes` bytes, each at its own stride: one input of a concat, one output of a
// split.
struct CopyRowsArgs {
  int64_t rows = 0;
  int64_t bytes = 0;
  const void* x = nullptr;
  int64_t x_stride = 0;  // bytes
  void* y = nullptr;
  int64_t y_stride = 0;  // bytes
};
int64_t CopyRowsTiles(const CopyRowsArgs& args);
void CopyRows(const CopyRowsArgs& args, Tiles tiles);
Work CopyRowsWork(const CopyRowsArgs& args);

// y = x converted, one rounding: f16 or bf16 to f32, f32 to f16 or bf16, i32 or i64 to f32.
struct ConvertArgs {
  tensor::DType from = tensor::DType::kF16;
  tensor::DType to = tensor::DType::kF32;
  int64_t count = 0;
  const void* x = nullptr;
  void* y = nullptr;
};
int64_t ConvertTiles(const ConvertArgs& args);
void Convert(const ConvertArgs& args, Tiles tiles);
Work ConvertWork(const ConvertArgs& args);

}  // namespace sluice::kernels

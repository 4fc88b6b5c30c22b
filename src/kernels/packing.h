// Lays out f32 weights for the products of kernels/gemm.h, at load; and what a weight to pack is.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/gemm.h"
#include "kernels/target.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace sluice::kernels {

// A matrix to pack: element (k, n) is data[k * k_stride + n * n_stride], so that a transposed
// weight needs no copy.
struct MatrixSource {
  const void* data = nullptr;
  tensor::DType dtype = tensor::DType::kF32;  // kF32, kF16 or kBF16
  int64_t k = 0;
  int64_t n = 0;
  int64_t k_stride = 0;
  int64_t n_stride = 0;
  // Where `data` is null: whose bytes they are, which the weight store makes if it needs them.
  const tensor::Buffer* buffer = nullptr;
};

// Columns that are packed side by side: matrices of the same k and type, one at least.
using MatrixParts = std::span<const MatrixSource>;
// Of all parts together.
int64_t ColumnsOf(MatrixParts parts);

// Bytes that PackMatrix writes: at most 31 columns more than k * n floats.
int64_t PackedMatrixBytes(int64_t k, int64_t n, Target target);
// Packs into `out`, which is aligned to 64 bytes and holds PackedMatrixBytes(k, n, target), by all
// cores.
PackedMatrix PackMatrix(MatrixParts parts, Target target, float* out);
inline PackedMatrix PackMatrix(const MatrixSource& source, Target target, float* out) {
  return PackMatrix(MatrixParts(&source, 1), target, out);
}

}  // namespace sluice::kernels

// What the blocks of GGUF's formats mean: plain loops from ggml's definitions (ggml-quants.c,
// ggml-common.h). Also the product's way to read single rows, as a look-up of embeddings does.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/block_gemm.h"
#include "tensor/block_format.h"

namespace sluice::kernels::ref {

// `count` elements from the start of a block on, a whole number of blocks, of any floating or
// block format.
void DequantiseBlocks(tensor::BlockFormat format, const std::byte* data, int64_t count, float* out);

// Row n of W as the product sees it: [k] f32.
void BlockMatrixRow(const BlockMatrix& w, int64_t n, float* out);

}  // namespace sluice::kernels::ref

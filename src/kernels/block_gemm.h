// Products of f32 activations with weights in blocks: GGUF's formats as they lie in a file, and
// four bits in groups that are made at load (block_int4.h).
//
// Weights are never turned into another format: a tile's codes are spread to bytes in L1 as they
// are read, and their integers multiplied with activations of 8 bits. An output is, block by block
// of 32 along k and in that order, sum += (integer dot) * (scale of weight * scale of activation),
// then for formats with a minimum sum += minimum * (scale of activation * sum of its codes); blocks
// of 16 where a format's scales are that dense. Its bits depend on its row alone: not on M, the
// tile, the company of other rows, or the instructions of the machine. kF16 and kBF16 are chains of
// f32 multiply-adds over sixteen lanes of k, added up in a fixed order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "kernels/work.h"
#include "tensor/block_format.h"

namespace sluice::kernels {

// W [n, k], each row an output. A view; a mapped file or block_int4.h's caller owns the memory.
struct BlockMatrix {
  const std::byte* data = nullptr;
  int64_t row_bytes = 0;  // from row to row; unused with `group`
  int64_t n = 0;
  int64_t k = 0;  // a multiple of the format's block
  tensor::BlockFormat format = tensor::BlockFormat::kQ8_0;
  // Above 0: panels of block_int4.h with a scale for each `group` elements of k; the codes mean
  // what kQ4_0's or, with a minimum, kQ4_1's mean.
  int64_t group = 0;
  // Rows lie as InterleaveBlocks has left them.
  bool interleaved = false;
};

// Whether BlockGemm takes a format.
bool BlockGemmTakes(tensor::BlockFormat format);
// Rows of a GGUF tensor. kInvalidArgument when k is no whole number of blocks, kUnimplemented for a
// format that BlockGemm does not take.
base::Result<BlockMatrix> BlockMatrixOf(const std::byte* data, tensor::BlockFormat format,
                                        int64_t n, int64_t k);

// The same blocks in the order in which a product of one row reads them: sixteen rows' first
// blocks, their second ones and so on; behind the last row zeros. Not for kF16 and kBF16. `out`
// holds InterleavedBytes(w) bytes.
int64_t InterleavedBytes(const BlockMatrix& w);
BlockMatrix InterleaveBlocks(const BlockMatrix& w, std::byte* out);

// As those of kernels/gemm.h; the last panel has as many columns as are left.
int64_t PanelColumns(const BlockMatrix& w);
BlockMatrix PanelOf(const BlockMatrix& w, int64_t index);

// Rows of activations in 8 bits: x = scale * code with codes -127 … 127, a scale for each 32
// elements of k. A block that holds NaN or inf gets the scale NaN.
struct BlockRows {
  int8_t* codes = nullptr;       // [m, k], rows `code_stride` apart
  float* scales = nullptr;       // [m, k / 32]
  int32_t* sums = nullptr;       // [m, k / 32] of codes
  int32_t* half_sums = nullptr;  // [m, k / 16] of codes
  float* code_sums = nullptr;    // [m, k / 32], scale times sum
  int64_t code_stride = 0;       // BlockCodeStride(k)
};
BlockRows RowsFrom(const BlockRows& rows, int64_t k, int64_t row);
// Bytes between rows of codes: an odd number of cache lines, so that rows fall into different sets.
int64_t BlockCodeStride(int64_t k);
// Whether a format takes BlockRows; kF16 and kBF16 take f32.
bool TakesBlockRows(const BlockMatrix& w);

struct PrepareBlockRowsArgs {
  int64_t m = 0;
  int64_t k = 0;             // a multiple of 32
  const float* a = nullptr;  // [m, k], rows `a_stride` elements apart
  int64_t a_stride = 0;
  BlockRows rows;
};
int64_t PrepareBlockRowsTiles(const PrepareBlockRowsArgs& args);
void PrepareBlockRows(const PrepareBlockRowsArgs& args, Tiles tiles);
Work PrepareBlockRowsWork(const PrepareBlockRowsArgs& args);

// C [m, n] = A [m, k] Wᵀ + bias [n] + residual [m, n].
struct BlockGemmArgs {
  int64_t m = 0;
  BlockRows rows;            // A, where TakesBlockRows(w)
  const float* a = nullptr;  // A [m, k] otherwise, rows `a_stride` elements apart
  int64_t a_stride = 0;
  BlockMatrix w;
  const float* bias = nullptr;      // [n], or null
  const float* residual = nullptr;  // rows `residual_stride` apart, or null; may be C
  int64_t residual_stride = 0;
  float* c = nullptr;  // rows `c_stride` apart
  int64_t c_stride = 0;
};
int64_t BlockGemmTiles(const BlockGemmArgs& args);
void BlockGemm(const BlockGemmArgs& args, Tiles tiles);
Work BlockGemmWork(const BlockGemmArgs& args);

}  // namespace sluice::kernels

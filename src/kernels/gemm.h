// Matrix products in f32: Gemm with weights packed at load, and MatMul of two activations.
//
// Every output element is one chain of fused multiply-adds over k = 0, 1, …, from zero or from what
// C held. Where packed B has one column it is 16 chains, of k mod 16, and their sum, added to what
// C held. Neither M, nor the tile, nor the target, nor the company of other rows changes its bits.
// Bias, residual and activation follow, in this order, with a factor bias, activation, factor and
// residual, each rounded once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/target.h"
#include "kernels/work.h"

namespace sluice::kernels {

// B [k, n] in the layout of `target`: panels of 32 (AVX-512) or 16 (AVX2) columns, each [k, width],
// the last padded with zeros, but for n = 1: the column follows once more, vector by vector, in the
// second halves of the panel's first rows. A view; kernels/weight_store.h owns such memory. k and n
// are at least 1.
struct PackedMatrix {
  const float* data = nullptr;  // aligned to 64 bytes
  int64_t k = 0;
  int64_t n = 0;
  Target target = Target::kAvx2;
};

// C [m, n] = act(A [m, k] B [k, n] + bias [n] + residual [m, n]) or, with a factor,
// act(A B + bias) * factor [m, n] + residual: a cross layer (R. Wang et al., DCN V2, 2021), a gate.
struct GemmArgs {
  int64_t m = 0;             // 0 is allowed
  const float* a = nullptr;  // [m, k], rows `a_stride` elements apart
  int64_t a_stride = 0;
  PackedMatrix b;
  const float* bias = nullptr;  // [n], or null
  const float* residual =
      nullptr;  // [m, n], rows `residual_stride` apart, or null; does not overlap C
  int64_t residual_stride = 0;
  const float* factor = nullptr;  // as the residual
  int64_t factor_stride = 0;
  float* c = nullptr;  // [m, n], rows `c_stride` apart; does not overlap A
  int64_t c_stride = 0;
  Activation activation = Activation::kNone;
  bool accumulate = false;  // the chains start from what C holds
};

// Columns of b's panels, and the panel `index` as a matrix of its own: a column's bits are those of
// a product with all of b, and zero where b has none.
int64_t PanelColumns(const PackedMatrix& b);
PackedMatrix PanelOf(const PackedMatrix& b, int64_t index);

// Floats from row to row that suit a matrix of n columns which a product reads as its A: n, or a
// cache line more where rows would be whole multiples of 4 KiB apart. Such rows fall into one set
// of L1, which cannot hold a strip of them: 84 instead of 99 % of the roof on a core with 12 ways.
int64_t GemmRowStride(int64_t n);

int64_t GemmTiles(const GemmArgs& args);
void Gemm(const GemmArgs& args, Tiles tiles);
Work GemmWork(const GemmArgs& args);

// C [o, i, m, n] = alpha * A [o, i, m, k] B [o, i, k, n] for o < outer, i < inner. A stride of 0
// repeats a matrix, so the two batch dimensions serve broadcasting. B is packed block by block on
// the stack: for weights use Gemm.
struct MatMulArgs {
  int64_t outer = 1;
  int64_t inner = 1;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;  // 0 gives zeros
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  int64_t a_outer = 0, a_inner = 0, a_row = 0, a_column = 1;  // strides in elements
  int64_t b_outer = 0, b_inner = 0, b_row = 0,
          b_column = 1;  // B^T: b_row = 1, b_column = its row stride
  int64_t c_outer = 0, c_inner = 0, c_row = 0;
  float alpha = 1.0f;  // multiplies A's elements before the product
};

int64_t MatMulTiles(const MatMulArgs& args);
void MatMul(const MatMulArgs& args, Tiles tiles);
Work MatMulWork(const MatMulArgs& args);

}  // namespace sluice::kernels

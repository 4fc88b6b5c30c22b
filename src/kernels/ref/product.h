// Reference products: matmul of any numeric dtype, integer matmul with zero points, Gemm and
// einsum. Floats accumulate in double, integers in 64 bits with wrap-around.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// y = a @ b as numpy.matmul: a [..., m, k], b [..., k, n], leading axes broadcast; rank-1 operands
// are a row and a column whose axis y lacks. a and b share a dtype; y has it too.
struct MatMulArgs {
  ConstView a;
  ConstView b;
  View y;
};
void MatMul(const MatMulArgs& args);

// y (i32) = (a - a_zero) @ (b - b_zero), a and b i8 or u8. Zero points are optional (no data), hold
// one element, or one per row of a ([m] or [..., m, 1]) and one per column of b ([n] or [..., 1,
// n]).
struct MatMulIntegerArgs {
  ConstView a;
  ConstView b;
  ConstView a_zero;
  ConstView b_zero;
  View y;
};
void MatMulInteger(const MatMulIntegerArgs& args);

// y [m, n] = alpha op(a) op(b) + beta c; op transposes by flag; c is optional and broadcasts to y.
struct GemmArgs {
  ConstView a;
  ConstView b;
  ConstView c;
  View y;
  double alpha = 1;
  double beta = 1;
  bool transpose_a = false;
  bool transpose_b = false;
};
void Gemm(const GemmArgs& args);

// y[out] = sum over the labels not in out of the product of all inputs. labels[i][d] in [0, 26 * 2)
// names axis d of input i; the extents of a label agree or are 1. The caller has parsed the
// equation and expanded its ellipsis.
inline constexpr int kEinsumLabels = 52;
inline constexpr int kEinsumInputs = 8;
struct EinsumArgs {
  std::span<const ConstView> inputs;                    // at most kEinsumInputs
  int8_t labels[kEinsumInputs][tensor::kMaxRank] = {};  // of each input
  int8_t out[tensor::kMaxRank] = {};                    // of y
  View y;
};
void Einsum(const EinsumArgs& args);

}  // namespace sluice::kernels::ref

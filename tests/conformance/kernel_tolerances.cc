// Allowed error of every kernel against kernels/ref. Inputs are of magnitude 1 unless a check
// scales the absolute part.
#include <array>

#include "conformance/kernel_table.h"

namespace sluice::conformance {

std::span<const Tolerance> TolerancesTable() {
  static constexpr std::array kTable = {
      // Products scale the absolute part by k: each step of a chain rounds a partial sum that
      // grows like sqrt(k), and the errors of k steps walk at random.
      Tolerance{"gemm", 6e-8, 1e-6},
      Tolerance{"matmul", 6e-8, 1e-6},
      // Exact sums, then scales, bias and activation in f32.
      Tolerance{"gemm_int8", 6e-8, 1e-6},
      // Exact sums of a block, then a multiply-add a block in f32; halves are chains over k.
      Tolerance{"gemm_blocks", 6e-8, 1e-6},
      // The order of the machine's dot products, and sums that flush denormals.
      Tolerance{"gemm_bf16", 6e-8, 1e-6},
      Tolerance{"gemm_int8_storage", 6e-8, 1e-6},
      Tolerance{"gemm_bf16_storage", 6e-8, 1e-6},
      // Two products of magnitude 1.
      Tolerance{"rotary", 2e-7, 1e-6},
      Tolerance{"attention", 1.5e-6, 1.5e-6},
      // A sum of squares under a root, and two products.
      Tolerance{"cache_write", 1e-6, 1e-6},
      Tolerance{"cached_attention", 1.5e-6, 1.5e-6},
      // Weights of values within 1 are rounded to eight bits.
      Tolerance{"low_attention", 4e-3, 1e-5},
      Tolerance{"conv", 6e-8, 1e-6},
      Tolerance{"depthwise", 6e-8, 1e-6},
      Tolerance{"max_pool", 0, 0},
      Tolerance{"mean_pool", 6e-8, 1e-6},
      // Errors of a step go into the next; gates keep them from growing.
      Tolerance{"recurrent", 2e-6, 1e-5},
      // Polynomials and exponentials in f32.
      Tolerance{"activation", 6e-7, 1e-6},
      // Sums of n terms of magnitude 1 scale the absolute part by sqrt(n) where a check says so.
      Tolerance{"gated_rows", 1e-6, 2e-6},
      Tolerance{"row_norm", 2e-6, 1e-6},
      Tolerance{"row_l2_norm", 1e-7, 1e-6},
      Tolerance{"row_softmax", 2e-7, 1e-6},
      Tolerance{"row_log_softmax", 2e-6, 1e-6},
      Tolerance{"row_reduce", 4e-7, 1e-6},
      Tolerance{"masked_mean", 5e-7, 1e-6},
      // Single steps that are correctly rounded, in programs: no error at all.
      Tolerance{"chain_exact", 0, 0},
      // Transcendental steps: units of 6e-8 relative; the absolute part is at magnitude 1.
      Tolerance{"chain_exp", 3e-38, 2.4e-7},
      Tolerance{"chain_log", 0, 2.4e-7},
      Tolerance{"chain_erf", 3.2e-7, 0},
      Tolerance{"chain_tanh", 0, 3.6e-7},
      Tolerance{"chain_sigmoid", 2e-7, 0},
      Tolerance{"chain_gelu", 1e-6, 1e-6},
      Tolerance{"chain_silu", 3e-7, 1e-6},
      Tolerance{"chain_softplus", 3e-38, 6e-7},
      Tolerance{"chain_rsqrt", 0, 1.8e-7},
      // What only moves or converts.
      Tolerance{"gather_rows", 0, 0},
      Tolerance{"lookups", 4e-7, 1e-6},
      // A product scales the absolute part by the columns, a second-order term by what it sums.
      Tolerance{"pair_dots", 6e-8, 1e-6},
      Tolerance{"second_order", 6e-8, 1e-6},
      Tolerance{"vector_cross", 6e-8, 1e-6},
      Tolerance{"row_mlp", 6e-7, 1e-6},
      Tolerance{"transpose", 0, 0},
      Tolerance{"convert", 0, 0},
  };
  return kTable;
}

}  // namespace sluice::conformance

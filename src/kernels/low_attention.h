// Attention whose products are bf16 in AMX's tile registers, for models whose linear layers run in
// bf16 or int8: kernels/attention.h with Q, K and V in bf16.
//
// Scores, maxima, exponentials and their sums are f32; the weights of the values are rounded to
// bf16 for the second product, whose sums are f32. What kernels/attention.h says of masks and of
// rows that see nothing holds here. A query row's bits depend on its own query, keys, values and
// mask alone: keys are taken in blocks of a fixed size, and a key that is left out adds zeros.
#pragma once

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/low_gemm.h"

namespace sluice::kernels {

struct LowAttentionArgs {
  // Sizes, strides, masks and lengths. The strides of its q, k and v count elements of bf16; their
  // data pointers are not used. No relative biases.
  AttentionArgs heads;
  // Bits of bf16, laid out as the views of `heads` say. Each row lies whole in memory that may be
  // read.
  const uint16_t* q = nullptr;
  const uint16_t* k = nullptr;
  const uint16_t* v = nullptr;
  // Where set, the result goes into these rows, prepared for a product of `rows_path`: row b *
  // queries + i (in the ragged form, of the packed rows) holds all heads of query i side by side.
  // For int8, heads.out is scratch of the same rows: out_row is heads * value_dim, out_head
  // value_dim.
  LowRows rows;
  LowPath rows_path = LowPath::kBF16Tiles;
};

// Whether this machine has it, and it takes heads of these sizes: multiples of 32 up to 128.
bool HasLowAttention();
bool LowAttentionTakes(int64_t dim, int64_t value_dim);

int64_t LowAttentionTiles(const LowAttentionArgs& args);
void LowAttention(const LowAttentionArgs& args, Tiles tiles);
Work LowAttentionWork(const LowAttentionArgs& args);

}  // namespace sluice::kernels

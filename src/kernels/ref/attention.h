// Reference attention as ONNX defines it: scaled dot products, a mask, a soft cap, softmax over the
// keys, weighted sum of the values. All in double with one rounding at the end; and the rotation of
// positions that goes before it.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// Where element (b, h, s, d) of an operand lies: data[b * batch + h * head + s * row + d].
struct HeadStrides {
  int64_t batch = 0;
  int64_t head = 0;
  int64_t row = 0;
};

// What `scores` holds: after the products, the mask, the soft cap or the softmax.
enum class ScoreStage : uint8_t { kProduct, kMasked, kCapped, kSoftmax };

// q [batch, heads, queries, dim], k [batch, key_heads, keys, dim], v [batch, key_heads, keys,
// value_dim], y [batch, heads, queries, value_dim], each laid out by its strides; key_heads divides
// heads. All of one float dtype.
struct AttentionArgs {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t key_heads = 0;
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t dim = 0;
  int64_t value_dim = 0;
  ConstView q;
  ConstView k;
  ConstView v;
  View y;
  HeadStrides q_strides;
  HeadStrides k_strides;
  HeadStrides v_strides;
  HeadStrides y_strides;
  double scale = 1;
  double softcap = 0;  // 0: none
  // Optional; bool (false excludes) or float (added). Broadcasts to [batch, heads, queries, mask
  // keys]; keys beyond the mask's are excluded.
  ConstView mask;
  bool causal = false;  // query i sees keys up to i + causal_offset
  int64_t causal_offset = 0;
  const int64_t* key_lengths = nullptr;  // [batch]; keys from there on are excluded
  View scores;                           // optional [batch, heads, queries, keys], of q's dtype
  ScoreStage stage = ScoreStage::kProduct;
  double* scratch = nullptr;  // [keys]
};
void Attention(const AttentionArgs& args);

// Rotates pairs of the first `rotary` of `dim` channels by the angle of the position:
// RotaryEmbedding. x and y [batch, heads, length, dim] by strides. cos and sin [positions, rotary /
// 2] indexed by position_ids [batch, length], or without ids [batch, length, rotary / 2]. A
// position outside is kInvalidArgument.
struct RotaryArgs {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t length = 0;
  int64_t dim = 0;
  int64_t rotary = 0;
  bool interleaved = false;  // pairs (2i, 2i + 1) rather than (i, i + rotary / 2)
  ConstView x;
  View y;
  HeadStrides strides;
  ConstView cos;
  ConstView sin;
  ConstView position_ids;
};
base::Status Rotary(const RotaryArgs& args);

}  // namespace sluice::kernels::ref

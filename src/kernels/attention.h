// softmax(scale * Q K^T + mask) V for many heads, padded or ragged, in blocks that stay in the
// cache.
//
// A query row's bits depend on its own query, keys, values and mask alone: not on the batch, not on
// the tiles, not on padding that the mask excludes (keys whose weight underflows to zero). Keys are
// taken in blocks of a size fixed by the head dimension.
//
// Rows whose scores are all very negative but finite come out as softmax defines: with an additive
// mask of -3.4e38 on every key the mean of the values, as ONNX's MatMul-Add-Softmax-MatMul gives.
// Where an additive mask is -inf on every key the row is NaN, as there. Where no key exists (length
// 0, or causal_offset before the first) it is zero.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/work.h"

namespace sluice::kernels {

// Element (b, h, s, d) of a [batch, heads, length, dim] operand is data[b * batch + h * head + s *
// row + d]; packed QKV of [tokens, 3 * hidden] is three such views. In the ragged form `batch` is
// ignored and row s of sequence b is row starts[b] + s.
struct HeadsView {
  const float* data = nullptr;
  int64_t batch = 0;
  int64_t head = 0;
  int64_t row = 0;
};

// A bias of scores by content and distance (DeBERTa's disentangled attention): the score of query i
// and key j grows by factor * rows[head][i or j][columns[j - i + reach - 1]].
struct RelativeBias {
  const float* rows = nullptr;  // element (h, row, column) at h * head + row * row_stride + column
  int64_t head = 0;
  int64_t row_stride = 0;
  const int32_t* columns = nullptr;  // [2 * reach - 1]; each within a row
  int64_t reach = 0;                 // sequences are at most this long
  float factor = 1.0f;
  bool by_key = false;  // the row is the key's, else the query's
};
inline constexpr int kRelativeBiasesMax = 2;

struct AttentionArgs {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t key_heads = 0;  // 0: as many as heads; else divides heads (grouped-query attention)
  int64_t queries = 0;    // rows of q for each sequence; in the ragged form the longest
  int64_t keys = 0;       // rows of k and v; in the ragged form the longest
  int64_t dim = 0;        // of q and k
  int64_t value_dim = 0;  // of v and the output
  HeadsView q, k, v;
  float* out = nullptr;  // strides as HeadsView's
  int64_t out_batch = 0, out_head = 0, out_row = 0;
  float scale = 1.0f;

  // Additive mask, element (b, h, i, j) at mask[b * mask_batch + h * mask_head + i * mask_query +
  // j]; a stride of 0 broadcasts: [B,1,1,S] has mask_head = mask_query = 0. Null: none. Not with
  // the ragged form.
  const float* mask = nullptr;
  int64_t mask_batch = 0, mask_head = 0, mask_query = 0;

  // [batch]: keys at and beyond key_lengths[b] are left out; each within [0, keys]. Null: all. Not
  // with the ragged form.
  const int32_t* key_lengths = nullptr;

  // Query i sees keys j <= i + causal_offset.
  bool causal = false;
  int64_t causal_offset = 0;

  // Query i sees keys [i - window_before, i + window_after] alone; negative: no bound on that side.
  int64_t window_before = -1;
  int64_t window_after = -1;

  // Ragged form: [batch + 1] ascending row offsets from 0, queries and keys of sequence b being
  // rows [starts[b], starts[b + 1]), each at most `queries` (= `keys`) long. Null: padded.
  const int32_t* sequence_starts = nullptr;

  // Used up to the first without rows; with the ragged form alone.
  RelativeBias relative[kRelativeBiasesMax] = {};
};

// The caller has validated all sizes, lengths and offsets. dim and value_dim are at least 1.
int64_t AttentionTiles(const AttentionArgs& args);
void Attention(const AttentionArgs& args, Tiles tiles);
Work AttentionWork(const AttentionArgs& args);

}  // namespace sluice::kernels

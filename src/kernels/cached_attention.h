// Attention of token sequences whose keys and values lie in blocks (kv/prefix_cache.h), and the
// step before it: turning queries and keys by their positions and writing keys and values there.
//
// Causal, with grouped key heads. A query row's bits depend on its own query and on the keys and
// values at its position and before, never on how many rows of how many sequences a step has, nor
// on which of the keys were there before the step: keys are met in blocks that begin at multiples
// of kCacheBlockRows, each score is one chain over the head's elements, each output one chain over
// the keys of a block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/work.h"
#include "tensor/dtype.h"

namespace sluice::kernels {

inline constexpr int64_t kCacheBlockRows = 32;  // positions of a block
inline constexpr int64_t kCacheDimMax = 256;    // of a head; dims are multiples of 8
inline constexpr int64_t kCacheGroupMax = 128;  // query heads of a key head

// One layer of the blocks. Block b's part begins at data + b * block_bytes: for each key head the
// keys [dim, kCacheBlockRows], then the values [kCacheBlockRows, dim]. 64 bytes behind the last
// block are read and not used.
struct CacheLayer {
  std::byte* data = nullptr;                 // aligned to 64 bytes, like block_bytes
  int64_t block_bytes = 0;                   // from one block to the next
  tensor::DType type = tensor::DType::kF16;  // kF32, kF16 or kBF16
  int64_t heads = 0;                         // key heads
  int64_t dim = 0;
};
// Bytes of one layer's part of a block.
int64_t CacheLayerBytes(tensor::DType type, int64_t heads, int64_t dim);

// Where a row's keys and values go.
struct CacheSlot {
  int32_t block = 0;
  int32_t row = 0;  // in [0, kCacheBlockRows)
};

// Rows of [heads | layer.heads keys | layer.heads values], each `dim` elements: queries are normed
// and turned in place, keys normed, turned and stored, values stored.
struct CacheWriteArgs {
  int64_t rows = 0;
  int64_t heads = 0;  // of the queries
  float* qkv = nullptr;
  int64_t qkv_row = 0;               // floats from one row to the next
  const CacheSlot* slots = nullptr;  // [rows], all different
  CacheLayer layer;
  // RMS norm over each head before it is turned, null: none; [dim] each.
  const float* query_scale = nullptr;
  const float* key_scale = nullptr;
  float epsilon = 1e-6f;
  // Pairs of the first `turned` elements, (i, i + turned / 2) or (2 i, 2 i + 1), by the angle whose
  // cosine and sine are cos[row, i] and sin[row, i], rows turned / 2 apart. 0: not turned.
  int64_t turned = 0;
  bool interleaved = false;
  const float* cos = nullptr;
  const float* sin = nullptr;
};
int64_t CacheWriteTiles(const CacheWriteArgs& args);
void CacheWrite(const CacheWriteArgs& args, Tiles tiles);
Work CacheWriteWork(const CacheWriteArgs& args);

// Rows of a step that are neighbouring positions of one sequence.
struct CachedRows {
  int64_t first_row = 0;  // of the step
  int64_t rows = 0;
  int64_t position = 0;             // of the first row; row i sees keys [0, position + i]
  const int32_t* blocks = nullptr;  // block of positions [i * kCacheBlockRows, …)
  int64_t first_tile = 0;           // CachedAttentionTiles sets it
};

struct CachedAttentionArgs {
  const CachedRows* sequences = nullptr;
  int64_t sequence_count = 0;
  int64_t heads = 0;         // query heads, a multiple of layer.heads
  const float* q = nullptr;  // head h of a row at h * dim
  int64_t q_row = 0;
  float* out = nullptr;  // as q; overlaps nothing
  int64_t out_row = 0;
  CacheLayer layer;
  float scale = 1.0f;
  float cap = 0.0f;    // above 0: scores become cap * tanh(score / cap)
  int64_t window = 0;  // above 0: a row sees its last `window` positions alone, itself included
  int64_t tiles = 0;   // of all sequences
};
// Sets first_tile of each sequence and returns the number of tiles, args.tiles, for any layer of
// these heads.
int64_t PlanCachedAttention(CachedRows* sequences, int64_t count, int64_t heads, int64_t key_heads);
int64_t CachedAttentionTiles(const CachedAttentionArgs& args);
void CachedAttention(const CachedAttentionArgs& args, Tiles tiles);
Work CachedAttentionWork(const CachedAttentionArgs& args);

}  // namespace sluice::kernels

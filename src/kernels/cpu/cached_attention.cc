// Attention over cached blocks, compiled once per target: a block of keys at a time meets strips of
// queries with a running maximum and sum, the output accumulating in place.
#include "kernels/cpu/cached_attention.h"

#include "kernels/cpu/micro.h"
#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

using tensor::DType;

constexpr float kMinusInfinity = -__builtin_inff();
constexpr int64_t kBlockElements = kCacheDimMax * kCacheBlockRows;
constexpr int kBlockVectors = static_cast<int>(kCacheBlockRows) / kLanes;

inline int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// One thread's run, on its stack.
struct Buffers {
  alignas(64) float keys[kBlockElements];    // [dim, kCacheBlockRows]
  alignas(64) float values[kBlockElements];  // [kCacheBlockRows, dim]
  alignas(64) float scores[kStripRowsMax * kCacheBlockRows];
  float maximum[kCachedQueriesMax];
  float sum[kCachedQueriesMax];
};

// Queries of a tile that lie at equal distances: rows of one query head, or, of a single row, its
// heads.
struct Strip {
  const float* q;
  float* out;
  int64_t q_row, out_row;  // floats from one query to the next
  int64_t rows;
  int64_t position;  // of the first query
  int64_t advance;   // of the position from one to the next: 1 or 0
  int64_t state;     // index of the first one's maximum and sum
};

// Calls f for each strip of the tile.
template <class F>
void ForTileStrips(const CachedAttentionArgs& args, const CachedTile& tile, F f) {
  const int64_t group = args.heads / args.layer.heads;
  const int64_t dim = args.layer.dim;
  const int64_t first = tile.sequence->first_row + tile.row_begin;
  const int64_t rows = tile.row_end - tile.row_begin;
  const float* const q = args.q + first * args.q_row + tile.key_head * group * dim;
  float* const out = args.out + first * args.out_row + tile.key_head * group * dim;
  const int64_t position = tile.sequence->position + tile.row_begin;
  if (rows == 1) {
    ForStrips(0, group, [&](int64_t head, int64_t count) {
      f(Strip{q + head * dim, out + head * dim, dim, dim, count, position, 0, head});
    });
    return;
  }
  for (int64_t head = 0; head < group; ++head) {
    ForStrips(0, rows, [&](int64_t row, int64_t count) {
      f(Strip{q + row * args.q_row + head * dim, out + row * args.out_row + head * dim, args.q_row,
              args.out_row, count, position + row, 1, head * rows + row});
    });
  }
}

// The first key that a query sees.
inline int64_t FirstVisible(const CachedAttentionArgs& args, int64_t position) {
  return args.window > 0 && position >= args.window ? position - args.window + 1 : 0;
}

// C [rows, columns] (+)= A [rows, depth] B [depth, columns].
inline void Multiply(MicroArgs micro, int64_t rows, int64_t columns) {
  micro.b_panel = kPanel;
  RunPanels(micro, static_cast<int>(rows), columns, [](int64_t, int64_t) {});
}

// Scores of one query for the keys [j0, j0 + kCacheBlockRows) become weights against the running
// maximum; returns the factor by which what was accumulated before shrinks.
HWY_INLINE float WeighQuery(const CachedAttentionArgs& args, int64_t position, int64_t j0,
                            float* scores, float* maximum, float* sum) {
  const F32 d;
  const I32 di;
  const auto first = static_cast<int32_t>(FirstVisible(args, position) - j0);
  const auto last = static_cast<int32_t>(Min(position - j0, kCacheBlockRows - 1));
  const VF low = hn::Set(d, kMinusInfinity);
  const VF scale = hn::Set(d, args.scale);
  VF s[kBlockVectors];
  VF highest = low;
  for (int i = 0; i < kBlockVectors; ++i) {
    s[i] = hn::Mul(hn::Load(d, scores + i * kLanes), scale);
    if (args.cap > 0) {
      s[i] = hn::Mul(hn::Set(d, args.cap), Tanh(hn::Mul(s[i], hn::Set(d, 1.0f / args.cap))));
    }
    const auto key = hn::Iota(di, i * kLanes);
    const auto seen =
        hn::And(hn::Gt(key, hn::Set(di, first - 1)), hn::Gt(hn::Set(di, last + 1), key));
    s[i] = hn::IfThenElse(hn::RebindMask(d, seen), s[i], low);
    highest = hn::Max(highest, s[i]);
  }
  const float before = *maximum;
  const float here = hn::GetLane(hn::MaxOfLanes(d, highest));
  const float after = here > before ? here : before;
  // While every score is -inf any finite shift will do: all weights are 0.
  const VF shift = hn::Set(d, after == kMinusInfinity ? 0.0f : after);
  VF total = hn::Zero(d);
  for (int i = 0; i < kBlockVectors; ++i) {
    const VF weight = ExpNegative(hn::Sub(s[i], shift));
    hn::Store(weight, d, scores + i * kLanes);
    total = hn::Add(total, weight);
  }
  float factor = 1.0f;
  if (after != before) {
    factor = hn::GetLane(ExpNegative(hn::Sub(hn::Set(d, before), shift)));
    *maximum = after;
  }
  *sum = *sum * factor + hn::GetLane(hn::SumOfLanes(d, total));
  return factor;
}

inline void ScaleHead(float* out, int64_t dim, float factor) {
  const F32 d;
  const VF f = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, out + i), f), d, out + i);
  }
  if (i == dim) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(dim - i));
  hn::BlendedStore(hn::Mul(hn::MaskedLoad(rest, d, out + i), f), rest, d, out + i);
}

// One strip meets one block. `begin` is the first block that any query of the tile sees.
inline void Meet(const CachedAttentionArgs& args, const Strip& strip, int64_t j0, bool begun,
                 const float* keys, const float* values, Buffers& buffers) {
  const int64_t dim = args.layer.dim;
  const int64_t last = strip.position + strip.advance * (strip.rows - 1);
  const int64_t depth = Min(kCacheBlockRows, last - j0 + 1);
  if (depth <= 0) return;
  MicroArgs micro = {};
  micro.a = strip.q;
  micro.a_row = strip.q_row;
  micro.b = keys;
  micro.b_row = kCacheBlockRows;
  micro.c = buffers.scores;
  micro.c_row = kCacheBlockRows;
  micro.depth = dim;
  Multiply(micro, strip.rows, kCacheBlockRows);
  for (int64_t i = 0; i < strip.rows; ++i) {
    const float factor = WeighQuery(
        args, strip.position + i * strip.advance, j0, buffers.scores + i * kCacheBlockRows,
        buffers.maximum + strip.state + i, buffers.sum + strip.state + i);
    if (begun && factor != 1.0f) ScaleHead(strip.out + i * strip.out_row, dim, factor);
  }
  micro = {};
  micro.a = buffers.scores;
  micro.a_row = kCacheBlockRows;
  micro.b = values;
  micro.b_row = dim;
  micro.c = strip.out;
  micro.c_row = strip.out_row;
  micro.depth = depth;
  micro.accumulate = begun;
  Multiply(micro, strip.rows, dim);
}

// to[i] = from[i] in the cache's 16-bit type, to nearest, ties to even. n is a multiple of 8.
inline void NarrowHead(const float* from, int64_t n, DType type, uint16_t* to) {
  if (type == DType::kF16) {
    for (int64_t i = 0; i < n; i += 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                       _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, from[i]);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    to[i] = static_cast<uint16_t>((from[i] == from[i] ? rounded : bits | 0x400000) >> 16);
  }
}

// Keys go into a column of the block, values into a row of it.
template <class T>
inline void StoreRow(const T* keys, const T* values, int64_t dim, int64_t row, T* block) {
  for (int64_t i = 0; i < dim; ++i) block[i * kCacheBlockRows + row] = keys[i];
  __builtin_memcpy(block + (kCacheBlockRows + row) * dim, values,
                   static_cast<size_t>(dim) * sizeof(T));
}

// x [dim] / sqrt(mean of squares + epsilon) * scale.
inline void NormHead(float* x, int64_t dim, const float* scale, float epsilon) {
  const F32 d;
  VF squares = hn::Zero(d);
  for (int64_t i = 0; i < dim; i += kLanes) {
    const auto in = hn::FirstN(d, static_cast<size_t>(Min(kLanes, dim - i)));
    const VF v = hn::MaskedLoad(in, d, x + i);
    squares = hn::MulAdd(v, v, squares);
  }
  const float mean = hn::GetLane(hn::SumOfLanes(d, squares)) / static_cast<float>(dim);
  const VF factor = hn::Set(d, 1.0f / __builtin_sqrtf(mean + epsilon));
  for (int64_t i = 0; i < dim; i += kLanes) {
    const auto in = hn::FirstN(d, static_cast<size_t>(Min(kLanes, dim - i)));
    const VF v = hn::Mul(hn::MaskedLoad(in, d, x + i), factor);
    hn::BlendedStore(hn::Mul(v, hn::MaskedLoad(in, d, scale + i)), in, d, x + i);
  }
}

inline void TurnHead(float* x, const CacheWriteArgs& args, const float* cos, const float* sin) {
  const int64_t half = args.turned / 2;
  if (args.interleaved) {
    for (int64_t i = 0; i < half; ++i) {
      const float a = x[2 * i], b = x[2 * i + 1];
      x[2 * i] = a * cos[i] - b * sin[i];
      x[2 * i + 1] = b * cos[i] + a * sin[i];
    }
    return;
  }
  const F32 d;
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const VF a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + half + i);
    const VF c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + half + i);
  }
  for (; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cos[i] - b * sin[i];
    x[i + half] = b * cos[i] + a * sin[i];
  }
}

}  // namespace

void RunCachedAttention(const CachedAttentionArgs& args, const CachedTile& tile) {
  Buffers buffers;
  const CacheLayer& layer = args.layer;
  const int64_t group = args.heads / layer.heads;
  const int64_t queries = group * (tile.row_end - tile.row_begin);
  for (int64_t i = 0; i < queries; ++i) {
    buffers.maximum[i] = kMinusInfinity;
    buffers.sum[i] = 0;
  }
  const int64_t elements = layer.dim * kCacheBlockRows;
  const int64_t element = layer.type == DType::kF32 ? 4 : 2;
  const int64_t position = tile.sequence->position + tile.row_begin;
  const int64_t last = tile.sequence->position + tile.row_end - 1;
  const int64_t first_block = FirstVisible(args, position) / kCacheBlockRows;
  for (int64_t block = first_block; block * kCacheBlockRows <= last; ++block) {
    const std::byte* const at = layer.data + tile.sequence->blocks[block] * layer.block_bytes +
                                tile.key_head * 2 * elements * element;
    const float* keys = buffers.keys;
    const float* values = buffers.values;
    if (layer.type == DType::kF32) {
      keys = reinterpret_cast<const float*>(at);
      values = keys + elements;
    } else {
      WidenRun(layer.type, at, elements, buffers.keys);
      WidenRun(layer.type, at + elements * element, elements, buffers.values);
    }
    ForTileStrips(args, tile, [&](const Strip& strip) {
      Meet(args, strip, block * kCacheBlockRows, block > first_block, keys, values, buffers);
    });
  }
  ForTileStrips(args, tile, [&](const Strip& strip) {
    for (int64_t i = 0; i < strip.rows; ++i) {
      ScaleHead(strip.out + i * strip.out_row, layer.dim, 1.0f / buffers.sum[strip.state + i]);
    }
  });
}

void RunCacheWrite(const CacheWriteArgs& args, int64_t begin, int64_t end) {
  const CacheLayer& layer = args.layer;
  const int64_t dim = layer.dim;
  const int64_t element = layer.type == DType::kF32 ? 4 : 2;
  const int64_t half = args.turned / 2;
  for (int64_t row = begin; row < end; ++row) {
    float* const queries = args.qkv + row * args.qkv_row;
    float* const keys = queries + args.heads * dim;
    const float* const values = keys + layer.heads * dim;
    const float* const cos = args.cos + row * half;
    const float* const sin = args.sin + row * half;
    for (int64_t h = 0; h < args.heads + layer.heads; ++h) {
      float* const x = queries + h * dim;
      const float* const scale = h < args.heads ? args.query_scale : args.key_scale;
      if (scale != nullptr) NormHead(x, dim, scale, args.epsilon);
      if (half > 0) TurnHead(x, args, cos, sin);
    }
    const CacheSlot slot = args.slots[row];
    std::byte* const block = layer.data + slot.block * layer.block_bytes;
    for (int64_t h = 0; h < layer.heads; ++h) {
      std::byte* const at = block + h * 2 * dim * kCacheBlockRows * element;
      const float* const k = keys + h * dim;
      const float* const v = values + h * dim;
      if (layer.type == DType::kF32) {
        StoreRow(k, v, dim, slot.row, reinterpret_cast<float*>(at));
        continue;
      }
      uint16_t narrow[2][kCacheDimMax];
      NarrowHead(k, dim, layer.type, narrow[0]);
      NarrowHead(v, dim, layer.type, narrow[1]);
      StoreRow(narrow[0], narrow[1], dim, slot.row, reinterpret_cast<uint16_t*>(at));
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

// Attention for one head and a run of queries, compiled once per target. Blocks of keys are packed
// (transposed) with their values; strips of queries pass over them with a running maximum and sum,
// the output accumulating in place.
#include "kernels/cpu/attention.h"

#include "kernels/cpu/micro.h"
#include "kernels/cpu/pack.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

inline int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// The part of a head that is being worked on: pointers to its first rows.
struct Head {
  const float* q;
  const float* k;
  const float* v;
  float* out;
  const float* mask;  // [queries, keys], or null
};

Head FindHead(const AttentionArgs& args, const AttentionTile& tile) {
  const int64_t groups = args.key_heads == 0 ? 1 : args.heads / args.key_heads;
  const int64_t key_head = tile.head / groups;
  const bool ragged = args.sequence_starts != nullptr;
  const auto at = [&](const HeadsView& view, int64_t head) {
    return view.data + head * view.head +
           (ragged ? tile.first_row * view.row : tile.sequence * view.batch);
  };
  Head head = {};
  head.q = at(args.q, tile.head);
  head.k = at(args.k, key_head);
  head.v = at(args.v, key_head);
  head.out = args.out + tile.head * args.out_head +
             (ragged ? tile.first_row * args.out_row : tile.sequence * args.out_batch);
  if (args.mask != nullptr) {
    head.mask = args.mask + tile.sequence * args.mask_batch + tile.head * args.mask_head;
  }
  return head;
}

// Keys of all that query i sees.
inline int64_t Visible(const AttentionArgs& args, const AttentionTile& tile, int64_t i) {
  if (!args.causal) return tile.keys;
  const int64_t seen = i + args.causal_offset + 1;
  return seen < 0 ? 0 : Min(tile.keys, seen);
}

// Running state of the rows of a tile.
struct Rows {
  float maximum[kQueriesMax];
  float sum[kQueriesMax];
};

// scores [0, count) += mask, turned into weights e^(score - maximum) in place; [count, padded)
// become 0. Updates the row's maximum and sum and returns the factor by which what was accumulated
// before must shrink.
inline float SoftmaxRow(float* scores, const float* mask, int64_t count, int64_t padded,
                        float& maximum, float& sum) {
  const F32 d;
  const VF low = hn::Set(d, kMinusInfinity);
  VF highest = low;
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    VF s = hn::LoadU(d, scores + j);
    if (mask != nullptr) {
      s = hn::Add(s, hn::LoadU(d, mask + j));
      hn::StoreU(s, d, scores + j);
    }
    highest = hn::Max(highest, s);
  }
  if (j < count) {
    const auto rest = hn::FirstN(d, static_cast<size_t>(count - j));
    VF s = hn::LoadU(d, scores + j);  // the buffer is longer than any row
    if (mask != nullptr) s = hn::Add(s, hn::MaskedLoad(rest, d, mask + j));
    s = hn::IfThenElse(rest, s, low);
    hn::StoreU(s, d, scores + j);
    highest = hn::Max(highest, s);
  }
  const float block_maximum = hn::GetLane(hn::MaxOfLanes(d, highest));
  const float before = maximum;
  maximum = block_maximum > before ? block_maximum : before;
  // While every score is -inf any finite shift will do: all weights are 0.
  const float shift = maximum == kMinusInfinity ? 0.0f : maximum;
  const VF subtract = hn::Set(d, shift);
  VF total = hn::Zero(d);
  for (j = 0; j < count; j += kLanes) {
    const VF p = ExpNegative(hn::Sub(hn::LoadU(d, scores + j), subtract));
    hn::StoreU(p, d, scores + j);
    total = hn::Add(total, p);
  }
  for (; j < padded; j += kLanes) hn::StoreU(hn::Zero(d), d, scores + j);
  const float factor = hn::GetLane(ExpNegative(hn::Set(d, before - shift)));
  sum = sum * factor + hn::GetLane(hn::SumOfLanes(d, total));
  return factor;
}

inline void ScaleRow(float* row, int64_t count, float factor) {
  const F32 d;
  const VF f = hn::Set(d, factor);
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, row + j), f), d, row + j);
  }
  if (j == count) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(count - j));
  hn::BlendedStore(hn::Mul(hn::MaskedLoad(rest, d, row + j), f), rest, d, row + j);
}

// Buffers of one thread's run, on its stack.
struct Buffers {
  alignas(64) float queries[kStripRowsMax * kStripStride];
  alignas(64) float scores[kStripRowsMax * kStripStride];
  alignas(64) float keys[kHeadBlock];
  alignas(64) float values[kHeadBlock];
};

// scores [rows, keys] = scale * Q K^T for one strip, in chunks of the head's dimension. With a
// single chunk the keys were packed before.
inline void ScoreStrip(const AttentionArgs& args, const float* q, const float* k, int64_t rows,
                       int64_t keys, Buffers& buffers) {
  for (int64_t c = 0; c < args.dim; c += kHeadChunk) {
    const int64_t chunk = Min(kHeadChunk, args.dim - c);
    if (args.dim > kHeadChunk) PackBlock(k + c, 1, args.k.row, chunk, keys, buffers.keys);
    PackStrip(q + c, args.q.row, 1, rows, chunk, args.scale, buffers.queries);
    MicroArgs micro = {};
    micro.a = buffers.queries;
    micro.b = buffers.keys;
    micro.b_row = kPanel;
    micro.b_panel = chunk * kPanel;
    micro.c = buffers.scores;
    micro.c_row = kStripStride;
    micro.depth = chunk;
    micro.accumulate = c > 0;
    RunPanels(micro, static_cast<int>(rows), keys, [](int64_t, int64_t) {});
  }
}

// out [rows, value_dim] (+)= weights [rows, depth] V for one strip; `keys` of V are packed at a
// time.
inline void WeighStrip(const AttentionArgs& args, const float* v, float* out, int64_t rows,
                       int64_t depth, int64_t keys, bool accumulate, Buffers& buffers) {
  for (int64_t c = 0; c < args.value_dim; c += kHeadChunk) {
    const int64_t chunk = Min(kHeadChunk, args.value_dim - c);
    if (args.value_dim > kHeadChunk) PackBlock(v + c, args.v.row, 1, keys, chunk, buffers.values);
    MicroArgs micro = {};
    micro.a = buffers.scores;
    micro.b = buffers.values;
    micro.b_row = kPanel;
    micro.b_panel = keys * kPanel;
    micro.c = out + c;
    micro.c_row = args.out_row;
    micro.depth = depth;
    micro.accumulate = accumulate;
    RunPanels(micro, static_cast<int>(rows), chunk, [](int64_t, int64_t) {});
  }
}

}  // namespace

void RunAttention(const AttentionArgs& args, const AttentionTile& tile) {
  Buffers buffers;
  Rows state;
  const Head head = FindHead(args, tile);
  for (int64_t i = 0; i < tile.query_end - tile.query_begin; ++i) {
    state.maximum[i] = kMinusInfinity;
    state.sum[i] = 0;
  }
  for (int64_t j0 = 0; j0 < tile.keys; j0 += tile.key_block) {
    const int64_t keys = Min(tile.key_block, tile.keys - j0);
    if (Visible(args, tile, tile.query_end - 1) <= j0) break;
    const float* const k = head.k + j0 * args.k.row;
    const float* const v = head.v + j0 * args.v.row;
    if (args.dim <= kHeadChunk) PackBlock(k, 1, args.k.row, args.dim, keys, buffers.keys);
    if (args.value_dim <= kHeadChunk) {
      PackBlock(v, args.v.row, 1, keys, args.value_dim, buffers.values);
    }
    ForStrips(tile.query_begin, tile.query_end, [&](int64_t row, int64_t rows) {
      // The last row of a strip sees the most.
      const int64_t depth = Min(keys, Visible(args, tile, row + rows - 1) - j0);
      if (depth <= 0) return;
      ScoreStrip(args, head.q + row * args.q.row, k, rows, depth, buffers);
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t query = row + i;
        const int64_t at = query - tile.query_begin;
        const int64_t seen = Visible(args, tile, query) - j0;
        const int64_t count = seen < 0 ? 0 : Min(keys, seen);
        const float* const mask =
            head.mask == nullptr ? nullptr : head.mask + query * args.mask_query + j0;
        const float factor = SoftmaxRow(buffers.scores + i * kStripStride, mask, count, depth,
                                        state.maximum[at], state.sum[at]);
        if (j0 > 0 && factor != 1.0f) {
          ScaleRow(head.out + query * args.out_row, args.value_dim, factor);
        }
      }
      WeighStrip(args, v, head.out + row * args.out_row, rows, depth, keys, j0 > 0, buffers);
    });
  }
  for (int64_t i = tile.query_begin; i < tile.query_end; ++i) {
    float* const out = head.out + i * args.out_row;
    if (Visible(args, tile, i) == 0) {
      for (int64_t j = 0; j < args.value_dim; ++j) out[j] = 0;
    } else {
      ScaleRow(out, args.value_dim, 1.0f / state.sum[i - tile.query_begin]);
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

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
  int64_t seen = tile.keys;
  if (args.causal) seen = Min(seen, i + args.causal_offset + 1);
  if (args.window_after >= 0) seen = Min(seen, i + args.window_after + 1);
  return seen < 0 ? 0 : seen;
}

// The first key that query i sees.
inline int64_t FirstVisible(const AttentionArgs& args, int64_t i) {
  return args.window_before < 0 || i < args.window_before ? 0 : i - args.window_before;
}

// Running state of the rows of a tile.
struct State {
  float maximum[kQueriesMax];
  float sum[kQueriesMax];
};

// A row's scores, mask and state while it becomes weights.
struct Row {
  float* scores;      // the buffer is longer than any row
  const float* mask;  // null: none
  float* maximum;
  float* sum;
  float factor = 1.0f;  // by which what was accumulated before must shrink
};

// For each of kRows rows: scores [0, count) += mask, turned into weights e^(score - maximum) in
// place; [count, padded) become 0. Several rows at a time only hide latency: each row's operations
// and their order are its own.
template <int kRows>
inline void SoftmaxRows(Row* rows, int64_t count, int64_t padded) {
  const F32 d;
  const VF low = hn::Set(d, kMinusInfinity);
  const auto rest = hn::FirstN(d, static_cast<size_t>(count % kLanes));
  const int64_t whole = count - count % kLanes;
  VF highest[kRows];
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) { highest[i] = low; });
  for (int64_t j = 0; j < whole; j += kLanes) {
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      VF s = hn::LoadU(d, rows[i].scores + j);
      if (rows[i].mask != nullptr) {
        s = hn::Add(s, hn::LoadU(d, rows[i].mask + j));
        hn::StoreU(s, d, rows[i].scores + j);
      }
      highest[i] = hn::Max(highest[i], s);
    });
  }
  if (whole < count) {
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      VF s = hn::LoadU(d, rows[i].scores + whole);
      if (rows[i].mask != nullptr) s = hn::Add(s, hn::MaskedLoad(rest, d, rows[i].mask + whole));
      s = hn::IfThenElse(rest, s, low);
      hn::StoreU(s, d, rows[i].scores + whole);
      highest[i] = hn::Max(highest[i], s);
    });
  }
  VF shift[kRows];
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
    const float block_maximum = hn::GetLane(hn::MaxOfLanes(d, highest[i]));
    const float before = *rows[i].maximum;
    const float after = block_maximum > before ? block_maximum : before;
    *rows[i].maximum = after;
    // While every score is -inf any finite shift will do: all weights are 0.
    const float finite = after == kMinusInfinity ? 0.0f : after;
    shift[i] = hn::Set(d, finite);
    rows[i].factor = before - finite;
  });
  VF total[kRows];
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) { total[i] = hn::Zero(d); });
  int64_t j = 0;
  for (; j < count; j += kLanes) {
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      const VF p = ExpNegative(hn::Sub(hn::LoadU(d, rows[i].scores + j), shift[i]));
      hn::StoreU(p, d, rows[i].scores + j);
      total[i] = hn::Add(total[i], p);
    });
  }
  for (; j < padded; j += kLanes) {
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      hn::StoreU(hn::Zero(d), d, rows[i].scores + j);
    });
  }
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
    const float factor = hn::GetLane(ExpNegative(hn::Set(d, rows[i].factor)));
    *rows[i].sum = *rows[i].sum * factor + hn::GetLane(hn::SumOfLanes(d, total[i]));
    rows[i].factor = factor;
  });
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

// scores [0, count) of query `query` against keys j0 and on grow by the bias. Elements that share a
// vector share nothing else: a score's bits are its own.
inline void AddRelative(const RelativeBias& bias, const AttentionTile& tile, int64_t query,
                        int64_t j0, int64_t count, float* scores) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const int64_t row = tile.first_row + (bias.by_key ? j0 : query);
  const float* const rows = bias.rows + tile.head * bias.head + row * bias.row_stride;
  const int32_t* const columns = bias.columns + (j0 - query + bias.reach - 1);
  const VF factor = hn::Set(d, bias.factor);
  // Where the row is the key's, each lane reads a row of its own.
  const auto step = static_cast<int32_t>(bias.by_key ? bias.row_stride : 0);
  const auto lanes = hn::Mul(hn::Iota(di, 0), hn::Set(di, step));
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    const auto first = hn::Set(di, static_cast<int32_t>(j) * step);
    const auto at = hn::Add(hn::LoadU(di, columns + j), hn::Add(lanes, first));
    const VF s = hn::LoadU(d, scores + j);
    hn::StoreU(hn::MulAdd(factor, hn::GatherIndex(d, rows, at), s), d, scores + j);
  }
  if (j == count) return;
  // Lanes behind the end read the first element of all.
  const auto rest = hn::FirstN(di, static_cast<size_t>(count - j));
  const auto first = hn::Set(di, static_cast<int32_t>(j) * step);
  const auto places = hn::Add(hn::MaskedLoad(rest, di, columns + j), hn::Add(lanes, first));
  const VF gathered = hn::GatherIndex(d, rows, hn::IfThenElseZero(rest, places));
  hn::StoreU(hn::MulAdd(factor, gathered, hn::LoadU(d, scores + j)), d, scores + j);
}

// The scores of a strip become weights; the outputs accumulated so far shrink to the new maxima.
inline void WeighScores(const AttentionArgs& args, const AttentionTile& tile, const Head& head,
                        int64_t j0, int64_t first, int64_t rows, int64_t depth, bool begun,
                        Buffers& buffers, State& state) {
  constexpr int kAtOnce = kLanes == 16 ? 4 : 2;
  Row row[kStripRowsMax];
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t query = first + i;
    row[i].scores = buffers.scores + i * kStripStride;
    row[i].mask = head.mask == nullptr ? nullptr : head.mask + query * args.mask_query + j0;
    row[i].maximum = &state.maximum[query - tile.query_begin];
    row[i].sum = &state.sum[query - tile.query_begin];
    for (const RelativeBias& bias : args.relative) {
      if (bias.rows == nullptr) break;
      AddRelative(bias, tile, query, j0, depth, row[i].scores);
    }
  }
  int64_t i = 0;
  const bool banded = args.window_before >= 0 || args.window_after >= 0;
  if (!args.causal && !banded) {
    for (; i + kAtOnce <= rows; i += kAtOnce) SoftmaxRows<kAtOnce>(row + i, depth, depth);
  }
  for (; i < rows; ++i) {
    const int64_t seen = Visible(args, tile, first + i) - j0;
    const int64_t count = seen < 0 ? 0 : Min(depth, seen);
    const int64_t hidden = Min(count, FirstVisible(args, first + i) - j0);
    for (int64_t j = 0; j < hidden; ++j) row[i].scores[j] = kMinusInfinity;
    SoftmaxRows<1>(row + i, count, depth);
  }
  if (!begun) return;
  for (i = 0; i < rows; ++i) {
    if (row[i].factor == 1.0f) continue;
    ScaleRow(head.out + (first + i) * args.out_row, args.value_dim, row[i].factor);
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
  State state;
  const Head head = FindHead(args, tile);
  for (int64_t i = 0; i < tile.query_end - tile.query_begin; ++i) {
    state.maximum[i] = kMinusInfinity;
    state.sum[i] = 0;
  }
  // Blocks begin at multiples of their size wherever a tile begins, so that a row's bits are its
  // own.
  const int64_t first = FirstVisible(args, tile.query_begin) / tile.key_block * tile.key_block;
  for (int64_t j0 = first; j0 < tile.keys; j0 += tile.key_block) {
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
      const bool begun = j0 > first;
      WeighScores(args, tile, head, j0, row, rows, depth, begun, buffers, state);
      WeighStrip(args, v, head.out + row * args.out_row, rows, depth, keys, begun, buffers);
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

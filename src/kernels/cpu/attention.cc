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

// Running state of the rows of a tile. A strip's rows are the lanes of one vector.
struct State {
  float maximum[kQueriesMax + 2 * kLanes];
  float sum[kQueriesMax + 2 * kLanes];
};
static_assert(kStripRows <= kLanes);

constexpr float kLog2E = 1.44269504088896341f;
// Scores are shifted by an integer of powers of two near their maximum: rounding it costs nothing,
// and blocks of keys that were shifted differently differ by an exact factor. Beyond this bound the
// maximum itself is subtracted first.
constexpr float kMaximumFused = 1048576.0f;

// 2^y for y in [-inf, 1], to 1.7e-7 relative; 0 at and below -127; NaN for NaN. The polynomial is
// our own minimax fit of 2^r on [-1/2, 1/2] with p(0) = 1, so that the clamp's own value, p(0)
// with 127 taken from its exponent, is the bits of zero.
HWY_INLINE VF PowerOfTwo(VF y) {
  const F32 d;
  const I32 di;
  const VF shifter = hn::Set(d, 12582912.0f);  // adding it rounds, see ExpInRange
  y = hn::Max(hn::Set(d, -127.0f), y);         // the operand that may be NaN comes second
  const VF shifted = hn::Add(y, shifter);
  const VF r = hn::Sub(y, hn::Sub(shifted, shifter));
  VF p = hn::Set(d, 0x1.5bba0cp-10f);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.3cea8cp-7f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.c6b750p-5f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.ebf9bep-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.62e42ap-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  const auto power = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), power));
}

// Lane i of the result is op over the lanes of vector i of `vectors`, kLanes of which may be read;
// in the same order for each.
template <class Op>
HWY_INLINE VF ReduceEach(const float* vectors, int64_t count, Op op) {
  const F32 d;
  const hn::Repartition<uint64_t, F32> d64;
  const hn::Half<F32> half;
  const hn::FixedTag<float, 4> four;
  alignas(64) float result[kLanes];
  for (int64_t i = 0; i < count; i += 4) {
    const float* const from = vectors + i * kLanes;
    const VF r0 = hn::Load(d, from);
    const VF r1 = hn::Load(d, from + kLanes);
    const VF r2 = hn::Load(d, from + 2 * kLanes);
    const VF r3 = hn::Load(d, from + 3 * kLanes);
    const auto low =
        hn::BitCast(d64, op(hn::InterleaveLower(d, r0, r1), hn::InterleaveUpper(d, r0, r1)));
    const auto high =
        hn::BitCast(d64, op(hn::InterleaveLower(d, r2, r3), hn::InterleaveUpper(d, r2, r3)));
    const VF blocks = op(hn::BitCast(d, hn::InterleaveLower(d64, low, high)),
                         hn::BitCast(d, hn::InterleaveUpper(d64, low, high)));
    const auto halves = op(hn::LowerHalf(half, blocks), hn::UpperHalf(half, blocks));
    if constexpr (kLanes == 16) {
      hn::Store(op(hn::LowerHalf(four, halves), hn::UpperHalf(four, halves)), four, result + i);
    } else {
      hn::Store(halves, four, result + i);
    }
  }
  return hn::Load(d, result);
}

// The maxima of scores [0, count), one for each lane, after the mask was added to them in place.
// What the last vector holds beyond them becomes -inf.
template <bool kMasked>
HWY_INLINE VF MaximaOfRow(float* scores, const float* mask, int64_t count) {
  const F32 d;
  const VF low = hn::Set(d, kMinusInfinity);
  VF highest[2] = {low, low};
  const auto take = [&](auto i, int64_t at) __attribute__((always_inline)) {
    VF s = hn::LoadU(d, scores + at);
    if constexpr (kMasked) {
      s = hn::Add(s, hn::LoadU(d, mask + at));
      hn::StoreU(s, d, scores + at);
    }
    highest[i] = hn::Max(highest[i], s);
  };
  int64_t j = 0;
  for (; j + 2 * kLanes <= count; j += 2 * kLanes) {
    Unroll<2>([&](auto i) __attribute__((always_inline)) { take(i, j + i * kLanes); });
  }
  if (j + kLanes <= count) {
    take(std::integral_constant<int, 0>(), j);
    j += kLanes;
  }
  if (j < count) {
    const auto rest = hn::FirstN(d, static_cast<size_t>(count - j));
    VF s = hn::LoadU(d, scores + j);
    if constexpr (kMasked) s = hn::Add(s, hn::MaskedLoad(rest, d, mask + j));
    s = hn::IfThenElse(rest, s, low);
    hn::StoreU(s, d, scores + j);
    highest[1] = hn::Max(highest[1], s);
  }
  return hn::Max(highest[0], highest[1]);
}

// Scores [0, count) of a row become weights 2^(score log2(e) + offset), [count, padded) become 0;
// returns the weights' sums, one chain for each lane.
HWY_INLINE VF WeighRow(float* scores, int64_t count, int64_t padded, float offset) {
  const F32 d;
  const VF log2e = hn::Set(d, kLog2E);
  const VF shift = hn::Set(d, offset);
  VF total = hn::Zero(d);
  int64_t j = 0;
  constexpr int kAtOnce = 4;  // hides latency; the order of the sum stays
  for (; j + kAtOnce * kLanes <= count; j += kAtOnce * kLanes) {
    VF weight[kAtOnce];
    Unroll<kAtOnce>([&](auto i) __attribute__((always_inline)) {
      weight[i] = PowerOfTwo(hn::MulAdd(hn::LoadU(d, scores + j + i * kLanes), log2e, shift));
    });
    Unroll<kAtOnce>([&](auto i) __attribute__((always_inline)) {
      hn::StoreU(weight[i], d, scores + j + i * kLanes);
      total = hn::Add(total, weight[i]);
    });
  }
  for (; j < count; j += kLanes) {
    const VF weight = PowerOfTwo(hn::MulAdd(hn::LoadU(d, scores + j), log2e, shift));
    hn::StoreU(weight, d, scores + j);
    total = hn::Add(total, weight);
  }
  for (; j < padded; j += kLanes) hn::StoreU(hn::Zero(d), d, scores + j);
  return total;
}

inline void SubtractFromRow(float* scores, int64_t count, float maximum) {
  const F32 d;
  const VF shift = hn::Set(d, maximum);
  for (int64_t j = 0; j < count; j += kLanes) {
    hn::StoreU(hn::Sub(hn::LoadU(d, scores + j), shift), d, scores + j);
  }
}

HWY_INLINE hn::Mask<F32> IsFused(VF maximum) {
  const F32 d;
  return hn::Le(hn::Abs(maximum), hn::Set(d, kMaximumFused));
}

// By which what was weighed against `before` shrinks when `after` takes its place; `after` is not
// -inf.
HWY_INLINE VF Shrinking(VF before, VF after) {
  const F32 d;
  const VF log2e = hn::Set(d, kLog2E);
  const auto power = [&](VF maximum) __attribute__((always_inline)) {
    const VF exact = hn::Mul(maximum, log2e);
    return hn::IfThenElse(IsFused(maximum), hn::Round(exact), exact);
  };
  const VF apart = hn::Sub(power(before), power(after));
  const VF together = hn::Mul(hn::Sub(before, after), log2e);
  const VF powers = hn::IfThenElse(hn::Or(IsFused(before), IsFused(after)), apart, together);
  return hn::IfThenElse(hn::Eq(before, after), hn::Set(d, 1.0f), PowerOfTwo(powers));
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
  alignas(64) float lanes[kLanes * kLanes];  // a vector for each row of a strip
};

// Fetches into L2 what the next sequence reads and writes, in the order of memory, while the
// products of this one run. A head's rows are short and far apart: asked for when its turn comes,
// they arrive at half the rate, and the processor's own prefetchers do not see them.
class NextSequence {
 public:
  NextSequence(const AttentionArgs& args, const AttentionTile& tile) {
    const int64_t sequence = tile.sequence + 1;
    if (sequence >= args.batch) return;
    const bool ragged = args.sequence_starts != nullptr;
    const int64_t queries = ragged ? tile.keys : args.queries;
    int64_t first = 0;
    int64_t rows[] = {args.queries, args.keys};
    if (ragged) {
      first = args.sequence_starts[sequence];
      rows[0] = rows[1] = args.sequence_starts[sequence + 1] - first;
    }
    const int64_t key_heads = args.key_heads == 0 ? args.heads : args.key_heads;
    const auto add = [&](const HeadsView& view, int64_t heads, int64_t count) {
      const float* const from = view.data + (ragged ? first * view.row : sequence * view.batch);
      const int64_t floats =
          count * view.row > heads * view.head ? count * view.row : heads * view.head;
      Add(reinterpret_cast<const char*>(from), floats * kFloatBytes, view.row * kFloatBytes);
    };
    add(args.q, args.heads, rows[0]);
    add(args.k, key_heads, rows[1]);
    add(args.v, key_heads, rows[1]);
    add({args.out, args.out_batch, args.out_head, args.out_row}, args.heads, rows[0]);
    int64_t bytes = 0;
    for (const Stretch& stretch : stretches_) bytes += stretch.bytes;
    if (bytes > tile.fetched_bytes_max) return;
    // Each tile fetches its share.
    const int64_t turns = args.heads * queries;
    const int64_t turn = tile.head * queries + tile.query_begin;
    at_ = bytes * turn / turns;
    end_ = bytes * (turn + tile.query_end - tile.query_begin) / turns;
    const int64_t strips = (tile.query_end - tile.query_begin + kStripRows - 1) / kStripRows;
    const int64_t key_panels = (tile.keys + kPanel - 1) / kPanel;
    const int64_t value_panels = (args.value_dim + kPanel - 1) / kPanel;
    const int64_t slots = strips * (key_panels * args.dim + value_panels * tile.keys);
    step_ = (end_ - at_) / (slots + 1) + 1;
  }

  // The share of one tile of a product, whose parts are chosen.
  void Set(MicroArgs& micro) {
    const char* from = reinterpret_cast<const char*>(micro.b);
    int64_t step = 0;
    if (at_ < end_) {
      int64_t offset = at_;
      const Stretch* stretch = stretches_;
      while (offset >= stretch->bytes) offset -= (stretch++)->bytes;
      from = stretch->begin + offset;
      step = step_;
      at_ += micro.depth * step;
    }
    const int64_t parts = micro.depth / micro.part;
    for (int64_t i = 0; i < parts; ++i, from += micro.part * step) micro.ahead[i] = {from, step};
  }

 private:
  static constexpr int64_t kFloatBytes = sizeof(float);
  static constexpr int kStretches = 4;

  struct Stretch {
    const char* begin = nullptr;
    int64_t bytes = 0;
    int64_t row = 0;  // bytes
  };

  // Views of the same rows are one stretch.
  void Add(const char* begin, int64_t bytes, int64_t row) {
    for (int i = 0; i < count_; ++i) {
      Stretch& known = stretches_[i];
      const auto apart = static_cast<int64_t>(reinterpret_cast<uintptr_t>(begin) -
                                              reinterpret_cast<uintptr_t>(known.begin));
      if (known.row != row || known.bytes != bytes || apart >= row || -apart >= row) continue;
      if (apart < 0) known.begin = begin;
      return;
    }
    stretches_[count_++] = {begin, bytes, row};
  }

  Stretch stretches_[kStretches];
  int count_ = 0;
  int64_t at_ = 0, end_ = 0;  // of the stretches' bytes, one behind the other
  int64_t step_ = 0;          // bytes for each k
};

// As RunPanels, fetching.
inline void RunFetching(MicroArgs micro, int rows, int64_t columns, NextSequence& next) {
  for (int64_t j = 0; j < columns;) {
    const MicroChoice tile = ChooseMicro(rows, columns - j, PanelsAtOnce(rows), micro);
    micro.next_c = micro.c + tile.width;
    next.Set(micro);
    tile.run(micro);
    j += tile.width;
    micro.b += micro.b_panel * (tile.width / kPanel);
    micro.c += tile.width;
  }
}

// scores [rows, keys] = scale * Q K^T for one strip, in chunks of the head's dimension. With a
// single chunk the keys were packed before.
inline void ScoreStrip(const AttentionArgs& args, const float* q, const float* k, int64_t rows,
                       int64_t keys, NextSequence& next, Buffers& buffers) {
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
    micro.part = chunk;
    micro.accumulate = c > 0;
    RunFetching(micro, static_cast<int>(rows), keys, next);
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

// A strip's rows and the block of keys that they meet.
struct Strip {
  int64_t first, rows;
  int64_t j0, depth;  // keys [j0, j0 + depth)
  bool begun;         // earlier blocks were met before
};

// Masks of all kinds reach the strip's scores; lane i of the result is the maximum of row i, and
// counts[i] are the keys that it sees of this block.
inline VF MaskScores(const AttentionArgs& args, const AttentionTile& tile, const Head& head,
                     const Strip& strip, Buffers& buffers, int64_t* counts) {
  const F32 d;
  for (int64_t i = 0; i < strip.rows; ++i) {
    const int64_t query = strip.first + i;
    float* const scores = buffers.scores + i * kStripStride;
    const int64_t seen = Visible(args, tile, query) - strip.j0;
    counts[i] = seen < 0 ? 0 : Min(strip.depth, seen);
    for (const RelativeBias& bias : args.relative) {
      if (bias.rows == nullptr) break;
      AddRelative(bias, tile, query, strip.j0, counts[i], scores);
    }
    const int64_t hidden = Min(counts[i], FirstVisible(args, query) - strip.j0);
    for (int64_t j = 0; j < hidden; ++j) scores[j] = kMinusInfinity;
    const VF maxima =
        head.mask == nullptr
            ? MaximaOfRow<false>(scores, nullptr, counts[i])
            : MaximaOfRow<true>(scores, head.mask + query * args.mask_query + strip.j0, counts[i]);
    hn::Store(maxima, d, buffers.lanes + i * kLanes);
  }
  return ReduceEach(
      buffers.lanes, strip.rows,
      [](auto a, auto b) __attribute__((always_inline)) { return hn::Max(a, b); });
}

// The scores of a strip become weights; the outputs accumulated so far shrink to the new maxima.
inline void WeighScores(const AttentionArgs& args, const AttentionTile& tile, const Head& head,
                        const Strip& strip, Buffers& buffers, State& state) {
  const F32 d;
  const auto rows = hn::FirstN(d, static_cast<size_t>(strip.rows));
  float* const maxima = state.maximum + (strip.first - tile.query_begin);
  float* const sums = state.sum + (strip.first - tile.query_begin);
  int64_t counts[kStripRowsMax];
  const VF highest = MaskScores(args, tile, head, strip, buffers, counts);
  const VF before = hn::LoadU(d, maxima);
  const VF after = hn::IfThenElse(hn::Gt(highest, before), highest, before);
  hn::BlendedStore(after, rows, d, maxima);
  // While every score is -inf any finite shift will do: all weights are 0.
  const VF shift = hn::IfThenElse(hn::Eq(after, hn::Set(d, kMinusInfinity)), hn::Zero(d), after);
  alignas(64) float shifts[kLanes];
  alignas(64) float offsets[kLanes];
  hn::Store(shift, d, shifts);
  const VF power = hn::Round(hn::Mul(shift, hn::Set(d, -kLog2E)));
  hn::Store(hn::IfThenElseZero(IsFused(shift), power), d, offsets);
  for (int64_t i = 0; i < strip.rows; ++i) {
    float* const scores = buffers.scores + i * kStripStride;
    if (!(__builtin_fabsf(shifts[i]) <= kMaximumFused)) {
      SubtractFromRow(scores, counts[i], shifts[i]);
    }
    hn::Store(WeighRow(scores, counts[i], strip.depth, offsets[i]), d, buffers.lanes + i * kLanes);
  }
  VF sum = ReduceEach(
      buffers.lanes, strip.rows,
      [](auto a, auto b) __attribute__((always_inline)) { return hn::Add(a, b); });
  if (strip.begun) {
    const VF factor = Shrinking(before, shift);
    sum = hn::Add(hn::Mul(hn::LoadU(d, sums), factor), sum);
    alignas(64) float factors[kLanes];
    hn::Store(factor, d, factors);
    for (int64_t i = 0; i < strip.rows; ++i) {
      if (factors[i] == 1.0f) continue;
      ScaleRow(head.out + (strip.first + i) * args.out_row, args.value_dim, factors[i]);
    }
  }
  hn::BlendedStore(sum, rows, d, sums);
}

// Outputs of rows [first, first + rows) by the sums of their weights, of which `sums` is the first.
inline void DivideBySums(const AttentionArgs& args, const Head& head, int64_t first, int64_t rows,
                         const float* sums) {
  const F32 d;
  alignas(64) float factors[kLanes];
  hn::Store(hn::Div(hn::Set(d, 1.0f), hn::LoadU(d, sums)), d, factors);
  for (int64_t i = 0; i < rows; ++i) {
    ScaleRow(head.out + (first + i) * args.out_row, args.value_dim, factors[i]);
  }
}

// out [rows, value_dim] (+)= weights [rows, depth] V for one strip; `keys` of V are packed at a
// time.
inline void WeighStrip(const AttentionArgs& args, const float* v, float* out, const Strip& strip,
                       int64_t keys, NextSequence& next, Buffers& buffers) {
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
    micro.depth = strip.depth;
    micro.part = PartOf(strip.depth);
    micro.accumulate = strip.begun;
    RunFetching(micro, static_cast<int>(strip.rows), chunk, next);
  }
}

}  // namespace

void RunAttention(const AttentionArgs& args, const AttentionTile& tile) {
  Buffers buffers;
  State state;
  const Head head = FindHead(args, tile);
  NextSequence next(args, tile);
  // Lanes beyond the last row are computed and dropped.
  const F32 d;
  for (int64_t i = 0; i < tile.query_end - tile.query_begin + kLanes; i += kLanes) {
    hn::StoreU(hn::Set(d, kMinusInfinity), d, state.maximum + i);
    hn::StoreU(hn::Zero(d), d, state.sum + i);
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
      const int64_t seen = Visible(args, tile, row + rows - 1) - j0;
      const int64_t depth = Min(keys, seen);
      if (depth <= 0) return;
      ScoreStrip(args, head.q + row * args.q.row, k, rows, depth, next, buffers);
      const Strip strip = {row, rows, j0, depth, j0 > first};
      WeighScores(args, tile, head, strip, buffers, state);
      WeighStrip(args, v, head.out + row * args.out_row, strip, keys, next, buffers);
      if (seen > tile.key_block) return;
      DivideBySums(args, head, row, rows, state.sum + (row - tile.query_begin));
    });
  }
  for (int64_t i = tile.query_begin; i < tile.query_end; ++i) {
    if (Visible(args, tile, i) > first) continue;
    float* const out = head.out + i * args.out_row;
    for (int64_t j = 0; j < args.value_dim; ++j) out[j] = 0;
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

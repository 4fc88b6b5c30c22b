// Attention of one head in AMX's tile registers. Compiled for AVX-512 with AMX and BF16.
//
// Keys and values of a block are laid out as a weight's panels are, so that both products are those
// of tile_registers.h: scores [32, keys] = Q K^T, and out [32, dim] (+)= weights V. Between them a
// strip's scores become weights row by row, all in L1. What a row may not see has the shift -inf:
// masks, lengths, windows and padding are one thing.
#if defined(__GNUC__) && !defined(__clang__)
// GCC's header hands its builtins registers that are undefined on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "kernels/cpu/low_attention.h"

#include "kernels/cpu/tile_registers.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();
constexpr float kLowest = -3.40282347e38f;
constexpr float kLog2E = 1.44269504f;
constexpr int64_t kStrip = 32;
// Rows fall into different sets of L1.
constexpr int64_t kScoresRow = kLowKeyBlock + 16;  // floats
constexpr int64_t kWeightsRow = kLowKeyBlock + 32;
constexpr int64_t kSumsRow = kLowHeadMax + 16;

inline int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t Max(int64_t a, int64_t b) {
  return a < b ? b : a;
}

struct Buffers {
  alignas(64) std::byte keys[kLowKeyBlock * kLowHeadMax * 2];
  alignas(64) std::byte values[kLowKeyBlock * kLowHeadMax * 2];
  alignas(64) float scores[kStrip * kScoresRow];
  alignas(64) uint16_t weights[kStrip * kWeightsRow];
  alignas(64) float shifts[kLowKeyBlock];      // of every row alike
  alignas(64) float row_shifts[kLowKeyBlock];  // of one row
  alignas(64) float sums[kLowQueriesMax * kSumsRow];
  float maximum[kLowQueriesMax];
  float sum[kLowQueriesMax];
};

// Rows of 16 groups of four bytes into columns: out row g, at `to` + g * kPanelRow, holds group g
// of each of the rows.
inline void TransposeGroups(__m512i* r, std::byte* to) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    _mm512_store_si512(to + i * kPanelRow, _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88));
    _mm512_store_si512(to + (4 + i) * kPanelRow, _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88));
    _mm512_store_si512(to + (8 + i) * kPanelRow, _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd));
    _mm512_store_si512(to + (12 + i) * kPanelRow, _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd));
  }
}

// Keys [0, count) as panels of 32 columns, k being the head's dimension; zeros behind them.
void PackKeys(const uint16_t* k, int64_t row, int64_t count, int64_t dim, std::byte* to) {
  for (int64_t j = 0; j < count; j += kTileRows) {
    const int64_t here = Min(kTileRows, count - j);
    std::byte* const panel = to + j / kWidth * (dim / 32) * kPanelStep + j % kWidth * 4;
    for (int64_t d = 0; d < dim; d += 32) {
      __m512i r[16];
      for (int64_t i = 0; i < kTileRows; ++i)
        r[i] = i < here ? _mm512_loadu_si512(k + (j + i) * row + d) : _mm512_setzero_si512();
      TransposeGroups(r, panel + d / 32 * kPanelStep);
    }
  }
  // The second half of the last panel.
  if (count % kWidth == 0 || count % kWidth > kTileRows) return;
  std::byte* const panel = to + count / kWidth * (dim / 32) * kPanelStep + kStepBytes;
  for (int64_t g = 0; g < dim / 2; ++g)
    _mm512_store_si512(panel + g * kPanelRow, _mm512_setzero_si512());
}

// Values [0, count) as panels of 32 columns, k being the keys; zeros up to a whole step.
void PackValues(const uint16_t* v, int64_t row, int64_t count, int64_t dim, std::byte* to) {
  alignas(64) uint16_t order[2][32];
  for (int i = 0; i < 32; ++i) {
    order[0][i] = static_cast<uint16_t>(i / 2 + 32 * (i % 2));
    order[1][i] = static_cast<uint16_t>(order[0][i] + 16);
  }
  const __m512i first = _mm512_load_si512(order[0]);
  const __m512i second = _mm512_load_si512(order[1]);
  const int64_t steps = (count + 31) / 32;
  for (int64_t d = 0; d < dim; d += kWidth) {
    std::byte* const panel = to + d / kWidth * steps * kPanelStep;
    for (int64_t g = 0; g < steps * 16; ++g) {
      const uint16_t* const from = v + 2 * g * row + d;
      const __m512i zero = _mm512_setzero_si512();
      const __m512i a = 2 * g < count ? _mm512_loadu_si512(from) : zero;
      const __m512i b = 2 * g + 1 < count ? _mm512_loadu_si512(from + row) : zero;
      _mm512_store_si512(panel + g * kPanelRow, _mm512_permutex2var_epi16(a, first, b));
      _mm512_store_si512(panel + g * kPanelRow + 64, _mm512_permutex2var_epi16(a, second, b));
    }
  }
}

// 2^t for t <= 0 (or NaN), exact at 0, to 1.0e-4 of itself elsewhere: far below what bf16 keeps.
// The cubic of least relative error on [-0.5, 0.5] that is 1 at 0.
inline __m512 PowerOfTwo(__m512 t) {
  // What would be denormal is 0, and -inf with it; NaN stays.
  const __mmask16 counts = _mm512_cmp_ps_mask(t, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  const __m512 whole = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(t, whole);
  __m512 p = _mm512_fmadd_ps(f, _mm512_set1_ps(0.05500893f), _mm512_set1_ps(0.24221097f));
  p = _mm512_fmadd_ps(f, p, _mm512_set1_ps(0.6932829f));
  p = _mm512_fmadd_ps(f, p, _mm512_set1_ps(1.0f));
  return _mm512_maskz_scalef_ps(counts, p, whole);
}

inline float PowerOfTwoOf(float t) {
  return _mm512_cvtss_f32(PowerOfTwo(_mm512_set1_ps(t)));
}

// All lanes folded into one by `f`.
template <class F>
inline float FoldLanes(__m512 x, F f) {
  x = f(x, _mm512_shuffle_f32x4(x, x, 0x4e));
  x = f(x, _mm512_shuffle_f32x4(x, x, 0xb1));
  x = f(x, _mm512_permute_ps(x, 0x4e));
  return _mm512_cvtss_f32(f(x, _mm512_permute_ps(x, 0xb1)));
}

// A mask's elements as shifts of scores that count in powers of two. Finite ones stay finite.
inline __m512 ShiftOf(__m512 mask) {
  const __m512 lowest = _mm512_set1_ps(kLowest);
  const __m512 shift = _mm512_max_ps(lowest, _mm512_mul_ps(mask, _mm512_set1_ps(kLog2E)));
  const __mmask16 never = _mm512_cmp_ps_mask(mask, _mm512_set1_ps(kMinusInfinity), _CMP_EQ_OQ);
  return _mm512_mask_mov_ps(shift, never, _mm512_set1_ps(kMinusInfinity));
}

// shifts [0, padded): of keys [hidden, seen) the mask's, -inf for all others.
void MakeShifts(const float* mask, int64_t hidden, int64_t seen, int64_t padded, float* shifts) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (int64_t j = 0; j < padded; j += 16) {
    const __m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(j)));
    const __mmask16 in = _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32(static_cast<int>(seen))) &
                         _mm512_cmpge_epi32_mask(at, _mm512_set1_epi32(static_cast<int>(hidden)));
    const __m512 shift =
        mask == nullptr ? _mm512_setzero_ps() : ShiftOf(_mm512_maskz_loadu_ps(in, mask + j));
    _mm512_store_ps(shifts + j, _mm512_mask_mov_ps(_mm512_set1_ps(kMinusInfinity), in, shift));
  }
}

// Scores [0, count) of one row, times `factor` plus shifts, become bf16 weights 2^(score -
// maximum). Returns by what earlier sums shrink.
float WeighRow(const float* scores, const float* shifts, float factor, int64_t count,
               uint16_t* weights, float& maximum, float& sum) {
  const __m512 by = _mm512_set1_ps(factor);
  __m512 high0 = _mm512_set1_ps(kMinusInfinity), high1 = high0;
  for (int64_t j = 0; j < count; j += 32) {
    high0 = _mm512_max_ps(
        _mm512_fmadd_ps(_mm512_load_ps(scores + j), by, _mm512_load_ps(shifts + j)), high0);
    high1 = _mm512_max_ps(
        _mm512_fmadd_ps(_mm512_load_ps(scores + j + 16), by, _mm512_load_ps(shifts + j + 16)),
        high1);
  }
  const float here = FoldLanes(_mm512_max_ps(high0, high1),
                               [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
  const float before = maximum;
  const float after = here > before ? here : before;
  maximum = after;
  // While every score is -inf any finite shift will do: all weights are 0.
  const float finite = after == kMinusInfinity ? 0.0f : after;
  const __m512 top = _mm512_set1_ps(finite);
  __m512 total0 = _mm512_setzero_ps(), total1 = total0;
  for (int64_t j = 0; j < count; j += 32) {
    const __m512 p0 = PowerOfTwo(_mm512_sub_ps(
        _mm512_fmadd_ps(_mm512_load_ps(scores + j), by, _mm512_load_ps(shifts + j)), top));
    const __m512 p1 = PowerOfTwo(_mm512_sub_ps(
        _mm512_fmadd_ps(_mm512_load_ps(scores + j + 16), by, _mm512_load_ps(shifts + j + 16)),
        top));
    total0 = _mm512_add_ps(total0, p0);
    total1 = _mm512_add_ps(total1, p1);
    _mm512_store_si512(weights + j, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(p1, p0)));
  }
  const float shrink = PowerOfTwoOf(before - finite);
  sum = sum * shrink + FoldLanes(_mm512_add_ps(total0, total1),
                                 [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
  return shrink;
}

// One head's queries.
struct Run {
  const LowAttentionArgs& args;
  const LowAttentionTile& tile;
  const uint16_t* q;
  const uint16_t* k;
  const uint16_t* v;
  const float* mask;
  float factor;  // of scores: they count in powers of two
  bool alike;    // every row has the same shifts
  int64_t shaped = 0;
  Buffers& buffers;

  Run(const LowAttentionArgs& run_args, const LowAttentionTile& run_tile, Buffers& run_buffers)
      : args(run_args), tile(run_tile), buffers(run_buffers) {
    const AttentionArgs& heads = args.heads;
    const bool ragged = heads.sequence_starts != nullptr;
    const int64_t groups = heads.key_heads == 0 ? 1 : heads.heads / heads.key_heads;
    const auto at = [&](const HeadsView& view, int64_t head) {
      return head * view.head + (ragged ? tile.first_row * view.row : tile.sequence * view.batch);
    };
    q = args.q + at(heads.q, tile.head);
    k = args.k + at(heads.k, tile.head / groups);
    v = args.v + at(heads.v, tile.head / groups);
    mask = heads.mask == nullptr
               ? nullptr
               : heads.mask + tile.sequence * heads.mask_batch + tile.head * heads.mask_head;
    factor = heads.scale * kLog2E;
    alike = !heads.causal && heads.window_before < 0 && heads.window_after < 0 &&
            (mask == nullptr || heads.mask_query == 0);
  }

  // Keys of all that query i sees, and the first of them.
  int64_t Visible(int64_t i) const {
    int64_t seen = tile.keys;
    if (args.heads.causal) seen = Min(seen, i + args.heads.causal_offset + 1);
    if (args.heads.window_after >= 0) seen = Min(seen, i + args.heads.window_after + 1);
    return Max(seen, 0);
  }
  int64_t FirstVisible(int64_t i) const {
    return args.heads.window_before < 0 ? 0 : Max(0, i - args.heads.window_before);
  }

  void Strip(int64_t row, int64_t rows, int64_t j0, int64_t count, bool begun, float* sums) {
    const AttentionArgs& heads = args.heads;
    if (rows != shaped) ShapeTiles(rows);
    shaped = rows;
    const int64_t seen = Min(count, Visible(row + rows - 1) - j0);
    if (seen <= 0 && begun) return;
    const int64_t steps = Max(1, (seen + 31) / 32);
    TileBlock block = {};
    block.a = reinterpret_cast<const std::byte*>(q + row * heads.q.row);
    block.a_row = heads.q.row * 2;
    block.steps = heads.dim / 32;
    block.sums_row = kScoresRow * 4;
    for (int64_t panel = 0; panel < steps; ++panel) {
      block.b = buffers.keys + panel * block.steps * kPanelStep;
      block.sums = buffers.scores + panel * kWidth;
      TileDots<false, PanelReads::kAgain>(block, rows, [] {});
    }
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t query = row + i;
      const float* shifts = buffers.shifts;
      if (!alike) {
        MakeShifts(mask == nullptr ? nullptr : mask + query * heads.mask_query + j0,
                   FirstVisible(query) - j0, Min(count, Visible(query) - j0), steps * 32,
                   buffers.row_shifts);
        shifts = buffers.row_shifts;
      }
      const int64_t state = query - tile.query_begin;
      const float shrink =
          WeighRow(buffers.scores + i * kScoresRow, shifts, factor, steps * 32,
                   buffers.weights + i * kWeightsRow, buffers.maximum[state], buffers.sum[state]);
      if (!begun || shrink == 1.0f) continue;
      const __m512 by = _mm512_set1_ps(shrink);
      for (int64_t d = 0; d < heads.value_dim; d += 16) {
        float* const at = sums + i * kSumsRow + d;
        _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), by));
      }
    }
    block.a = reinterpret_cast<const std::byte*>(buffers.weights);
    block.a_row = kWeightsRow * 2;
    block.steps = steps;
    block.resume = begun;
    block.sums_row = kSumsRow * 4;
    const int64_t panel_steps = (count + 31) / 32;
    for (int64_t d = 0; d < heads.value_dim; d += kWidth) {
      block.b = buffers.values + d / kWidth * panel_steps * kPanelStep;
      block.sums = sums + d;
      TileDots<false, PanelReads::kAgain>(block, rows, [] {});
    }
  }

  // The next head's rows of a block lie beside this one's, each on a line of its own that no
  // hardware would fetch in time.
  void Prefetch(const uint16_t* x, int64_t row, int64_t rows, int64_t dim) const {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t d = 0; d < dim; d += 32)
        _mm_prefetch(reinterpret_cast<const char*>(x + i * row + d), _MM_HINT_T1);
    }
  }
  void PrefetchNextHead(int64_t j0, int64_t count) const {
    const AttentionArgs& heads = args.heads;
    if (tile.head + 1 == heads.heads) return;
    Prefetch(k + heads.k.head + j0 * heads.k.row, heads.k.row, count, heads.dim);
    Prefetch(v + heads.v.head + j0 * heads.v.row, heads.v.row, count, heads.value_dim);
    if (j0 > 0) return;
    Prefetch(q + heads.q.head + tile.query_begin * heads.q.row, heads.q.row,
             tile.query_end - tile.query_begin, heads.dim);
  }

  // Rows whose sums are complete, divided and stored.
  void Finish(int64_t row, int64_t rows, const float* sums) {
    const AttentionArgs& heads = args.heads;
    const bool brain = args.rows.data != nullptr && TakesBrainRows(args.rows_path);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t query = row + i;
      const float* const from = sums + i * kSumsRow;
      const bool blind = Visible(query) == 0;
      const __m512 by = _mm512_set1_ps(1.0f / buffers.sum[query - tile.query_begin]);
      const auto value = [&](int64_t d) {
        return blind ? _mm512_setzero_ps() : _mm512_mul_ps(_mm512_load_ps(from + d), by);
      };
      if (brain) {
        auto* const to = reinterpret_cast<uint16_t*>(args.rows.data +
                                                     (tile.rows_first + query) * args.rows.stride) +
                         tile.head * heads.value_dim;
        for (int64_t d = 0; d < heads.value_dim; d += 32) {
          _mm512_storeu_si512(
              to + d, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(value(d + 16), value(d))));
        }
        continue;
      }
      float* const to = heads.out + tile.head * heads.out_head +
                        (heads.sequence_starts != nullptr ? tile.first_row * heads.out_row
                                                          : tile.sequence * heads.out_batch) +
                        query * heads.out_row;
      for (int64_t d = 0; d < heads.value_dim; d += 16) _mm512_storeu_ps(to + d, value(d));
    }
  }

  void All() {
    const AttentionArgs& heads = args.heads;
    for (int64_t i = 0; i < tile.query_end - tile.query_begin; ++i) {
      buffers.maximum[i] = kMinusInfinity;
      buffers.sum[i] = 0;
    }
    // Blocks start at multiples of their size, whoever else is in the tile.
    const int64_t first = FirstVisible(tile.query_begin) / kLowKeyBlock * kLowKeyBlock;
    const int64_t last = Max(first + 1, Min(tile.keys, Visible(tile.query_end - 1)));
    for (int64_t j0 = first; j0 < last; j0 += kLowKeyBlock) {
      const int64_t count = Max(0, Min(kLowKeyBlock, tile.keys - j0));
      PackKeys(k + j0 * heads.k.row, heads.k.row, count, heads.dim, buffers.keys);
      PackValues(v + j0 * heads.v.row, heads.v.row, count, heads.value_dim, buffers.values);
      PrefetchNextHead(j0, count);
      if (alike) {
        MakeShifts(mask == nullptr ? nullptr : mask + j0, 0, count, Max(32, (count + 31) / 32 * 32),
                   buffers.shifts);
      }
      const bool whole = last - first <= kLowKeyBlock;
      for (int64_t row = tile.query_begin; row < tile.query_end; row += kStrip) {
        const int64_t rows = Min(kStrip, tile.query_end - row);
        // With one block alone every strip's sums lie at the same place, in L1.
        float* const sums = buffers.sums + (whole ? 0 : (row - tile.query_begin) * kSumsRow);
        Strip(row, rows, j0, count, j0 > first, sums);
        if (j0 + kLowKeyBlock >= last) Finish(row, rows, sums);
      }
    }
  }
};

}  // namespace

void RunLowAttention(const LowAttentionArgs& args, const LowAttentionTile& tile) {
  Buffers buffers;
  Run(args, tile, buffers).All();
  _tile_release();
}

}  // namespace sluice::kernels::SLUICE_ISA

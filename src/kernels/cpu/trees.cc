// Compiled once per target: trees of masks, a vector of rows through one tree, or one row through a
// vector of trees.
#include "kernels/cpu/trees.h"

#include "kernels/cpu/micro.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

using U32 = hn::RebindToUnsigned<F32>;
using VU = hn::Vec<U32>;
using VI = hn::Vec<I32>;

// The number of the lowest bit that is set: a power of two as a float tells it by its exponent.
HWY_INLINE VI LowestBit(VU bits) {
  const F32 d;
  const U32 du;
  const I32 di;
  const VI word = hn::BitCast(di, bits);
  const VI low = hn::And(word, hn::Neg(word));
  const VU exponent = hn::ShiftRight<23>(hn::BitCast(du, hn::ConvertTo(d, low)));
  return hn::Sub(hn::BitCast(di, hn::And(exponent, hn::Set(du, 0xFF))), hn::Set(di, 127));
}

constexpr int kRowVectors = static_cast<int>(kMaskRows) / kLanes;

// What is left of a word's leaves once questions [begin, end) are answered for kVectors of rows.
template <int kVectors>
HWY_INLINE void Ask(const TreeQuestion* begin, const TreeQuestion* end, const float* turned,
                    VU (&left)[kVectors]) {
  const F32 d;
  const U32 du;
  Unroll<kVectors>([&](auto v)
                       __attribute__((always_inline)) { left[v] = hn::Set(du, ~uint32_t{0}); });
  for (const TreeQuestion* question = begin; question != end; ++question) {
    const VF split = hn::Set(d, question->split);
    const VU keep = hn::Set(du, question->keep);
    const float* const x = turned + static_cast<int64_t>(question->feature) * kMaskRows;
    Unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      const auto yes = hn::Le(hn::Load(d, x + v * kLanes), split);
      left[v] = hn::IfThenElse(hn::RebindMask(du, yes), left[v], hn::And(left[v], keep));
    });
  }
}

// The trees [begin, end) for kVectors of rows: with kAdds what their leaves hold is added to
// `sums`, else the leaves are written down.
template <int kVectors, bool kAdds>
void MaskTrees(const TreeMasks& masks, int64_t begin, int64_t end, const float* turned,
               double* sums, int32_t* leaves) {
  const F32 d;
  const I32 di;
  const U32 du;
  const hn::Repartition<double, F32> dd;
  const hn::Half<F32> half;
  for (int64_t tree = begin; tree < end; ++tree, leaves += kMaskRows) {
    const TreeSpan span = masks.trees[tree];
    VU left[kVectors];
    Ask<kVectors>(masks.questions + span.questions, masks.questions + span.others, turned, left);
    VI leaf[kVectors];
    Unroll<kVectors>([&](auto v) __attribute__((always_inline)) { leaf[v] = LowestBit(left[v]); });
    if (span.end != span.others) {
      VU others[kVectors];
      Ask<kVectors>(masks.questions + span.others, masks.questions + span.end, turned, others);
      Unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
        const auto none = hn::RebindMask(di, hn::Eq(left[v], hn::Zero(du)));
        leaf[v] = hn::IfThenElse(none, hn::Add(LowestBit(others[v]), hn::Set(di, 32)), leaf[v]);
      });
    }
    Unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      if constexpr (kAdds) {
        const VF held = hn::GatherIndex(d, masks.leaf_splits + span.leaves, leaf[v]);
        double* const low = sums + v * kLanes;
        double* const high = low + kLanes / 2;
        hn::Store(hn::Add(hn::Load(dd, low), hn::PromoteTo(dd, hn::LowerHalf(half, held))), dd,
                  low);
        hn::Store(hn::Add(hn::Load(dd, high), hn::PromoteTo(dd, hn::UpperHalf(half, held))), dd,
                  high);
      } else {
        hn::Store(hn::Add(leaf[v], hn::Set(di, span.leaves)), di, leaves + v * kLanes);
      }
    });
  }
}

template <int kVectors>
HWY_INLINE void MaskTrees(const MaskedRows& rows, int64_t begin, int64_t end, double* sums,
                          int32_t* leaves) {
  if (sums != nullptr) {
    MaskTrees<kVectors, true>(rows.masks, begin, end, rows.turned, sums, leaves);
  } else {
    MaskTrees<kVectors, false>(rows.masks, begin, end, rows.turned, sums, leaves);
  }
}

}  // namespace

void TurnRows(const float* x, int64_t stride, int64_t count, int64_t features, float* turned) {
  for (int64_t row = 0; row < kMaskRows; ++row) {
    const float* const from = x + (row < count ? row : 0) * stride;
    for (int64_t f = 0; f < features; ++f) turned[f * kMaskRows + row] = from[f];
  }
}

void RunTreeMasks(const MaskedRows& rows, int64_t begin, int64_t end, double* sums,
                  int32_t* leaves) {
  const int64_t vectors = (rows.count + kLanes - 1) / kLanes;
  if (vectors == 1) {
    MaskTrees<1>(rows, begin, end, sums, leaves);
  } else if (vectors == 2) {
    MaskTrees<2>(rows, begin, end, sums, leaves);
  } else {
    MaskTrees<kRowVectors>(rows, begin, end, sums, leaves);
  }
}

#if HWY_TARGET <= HWY_AVX3

// Features beyond the first 32 come from a second pair of registers.
template <bool kMany>
HWY_INLINE void Aside(const TreeMasks& masks, const float* x, int64_t features, int64_t begin,
                      int64_t end, int32_t* leaves) {
  const F32 d;
  const I32 di;
  const U32 du;
  const hn::Rebind<uint8_t, I32> bytes;
  VF values[4];
  Unroll<4>([&](auto v) __attribute__((always_inline)) {
    const int64_t left = features - v * kLanes;
    const auto here = hn::FirstN(d, static_cast<size_t>(left < 0 ? 0 : left));
    values[v] = hn::MaskedLoad(here, d, x + v * kLanes);
  });
  for (int64_t tree = begin; tree < end; tree += kLanes, leaves += kLanes) {
    const int64_t group = tree / kLanes;
    VU left = hn::Set(du, ~uint32_t{0});
    for (int64_t step = masks.side_steps[group]; step < masks.side_steps[group + 1]; ++step) {
      const int64_t at = step * kLanes;
      const VI feature = hn::PromoteTo(di, hn::Load(bytes, masks.side_features + at));
      VF value{_mm512_permutex2var_ps(values[0].raw, feature.raw, values[1].raw)};
      if constexpr (kMany) {
        const VF high{_mm512_permutex2var_ps(values[2].raw, feature.raw, values[3].raw)};
        value =
            hn::IfThenElse(hn::RebindMask(d, hn::TestBit(feature, hn::Set(di, 32))), high, value);
      }
      const auto yes = hn::Le(value, hn::Load(d, masks.side_splits + at));
      left = hn::IfThenElse(hn::RebindMask(du, yes), left,
                            hn::And(left, hn::Load(du, masks.side_keeps + at)));
    }
    hn::Store(LowestBit(left), di, leaves);
  }
}

void RunTreesAside(const TreeMasks& masks, const float* x, int64_t features, int64_t begin,
                   int64_t end, int32_t* leaves) {
  if (features > 2 * kLanes) {
    Aside<true>(masks, x, features, begin, end, leaves);
  } else {
    Aside<false>(masks, x, features, begin, end, leaves);
  }
}

#endif

}  // namespace sluice::kernels::SLUICE_ISA

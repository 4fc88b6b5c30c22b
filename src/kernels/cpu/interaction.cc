// Compiled once per target: dot products of pairs of features and the second-order term.
#include "kernels/cpu/interaction.h"

#include "kernels/cpu/micro.h"
#include "kernels/cpu/pack.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

inline int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

inline int64_t Max(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// Columns of x that are packed at a time: a block of all features is at most 64 KiB.
constexpr int64_t kBlockColumns = 128;

// The picked products, run by run, to y [pairs]. Whole vectors where the row of y has room: what is
// too much is overwritten by the next run.
HWY_INLINE void CopyRuns(const PairDotsArgs& args, const float* products, float* y) {
  const F32 d;
  for (int64_t r = 0; r < args.run_count; ++r) {
    const PairRun& run = args.runs[r];
    const float* const from = products + run.row * kInteractionFeatures + run.first;
    float* const to = y + run.at;
    for (int64_t i = 0; i < run.count; i += kLanes) {
      const int64_t left = args.pairs - run.at - i;
      if (left >= kLanes) {
        hn::StoreU(hn::LoadU(d, from + i), d, to + i);
      } else {
        const auto rest = hn::FirstN(d, static_cast<size_t>(left));
        hn::BlendedStore(hn::LoadU(d, from + i), rest, d, to + i);
      }
    }
  }
}

// scale * (sum^2 - sum of squares) of column vectors at `c`; load(f) reads feature f's.
template <class Load>
HWY_INLINE VF SecondOrderOf(const SecondOrderArgs& args, Load load) {
  const F32 d;
  VF sum = hn::Zero(d), squares = sum;
  for (int64_t f = 0; f < args.features; ++f) {
    const VF v = load(f);
    sum = hn::Add(sum, v);
    squares = hn::MulAdd(v, v, squares);
  }
  return hn::Mul(hn::Set(d, args.scale), hn::Sub(hn::Mul(sum, sum), squares));
}

}  // namespace

void RunPairDots(const PairDotsArgs& args, int64_t begin, int64_t end) {
  alignas(64) float block[kInteractionFeatures * kBlockColumns];
  alignas(64) float products[kInteractionFeatures * kInteractionFeatures + kLanes];
  const int64_t features = args.features;
  // Of a triangle, the upper rows' products end early.
  int64_t needed[kInteractionFeatures] = {};
  for (int64_t r = 0; r < args.run_count; ++r) {
    const PairRun& run = args.runs[r];
    needed[run.row] = Max(needed[run.row], run.first + run.count);
  }
  for (int64_t b = begin; b < end; ++b) {
    const float* const x = args.x + b * args.x_batch;
    for (int64_t k0 = 0; k0 < args.columns; k0 += kBlockColumns) {
      const int64_t depth = Min(kBlockColumns, args.columns - k0);
      PackBlock(x + k0, 1, args.x_row, depth, features, block);
      ForStrips(0, features, [&](int64_t row, int64_t rows) {
        int64_t columns = 0;
        for (int64_t i = row; i < row + rows; ++i) columns = Max(columns, needed[i]);
        MicroArgs micro = {};
        micro.a = x + row * args.x_row + k0;
        micro.a_row = args.x_row;
        micro.b = block;
        micro.b_row = kPanel;
        micro.b_panel = depth * kPanel;
        micro.c = products + row * kInteractionFeatures;
        micro.c_row = kInteractionFeatures;
        micro.depth = depth;
        micro.accumulate = k0 > 0;
        RunPanels(micro, static_cast<int>(rows), columns, [](int64_t, int64_t) {});
      });
    }
    CopyRuns(args, products, args.y + b * args.y_stride);
  }
}

void RunSecondOrder(const SecondOrderArgs& args, int64_t begin, int64_t end) {
  const F32 d;
  for (int64_t b = begin; b < end; ++b) {
    const float* const x = args.x + b * args.x_batch;
    float* const y = args.y + b * args.y_stride;
    VF total = hn::Zero(d);
    int64_t c = 0;
    for (; c + kLanes <= args.columns; c += kLanes) {
      const VF v = SecondOrderOf(
          args, [&](int64_t f) HWY_ATTR { return hn::LoadU(d, x + f * args.x_row + c); });
      if (args.reduces) {
        total = hn::Add(total, v);
      } else {
        hn::StoreU(v, d, y + c);
      }
    }
    if (c < args.columns) {
      const auto rest = hn::FirstN(d, static_cast<size_t>(args.columns - c));
      const VF v = SecondOrderOf(args, [&](int64_t f) HWY_ATTR {
        return hn::MaskedLoad(rest, d, x + f * args.x_row + c);
      });
      if (args.reduces) {
        total = hn::Add(total, v);
      } else {
        hn::BlendedStore(v, rest, d, y + c);
      }
    }
    if (args.reduces) y[0] = hn::GetLane(hn::SumOfLanes(d, total));
  }
}

void RunVectorCross(const VectorCrossArgs& args, int64_t begin, int64_t end) {
  const F32 d;
  const int64_t columns = args.columns;
  const int64_t whole = columns / kLanes * kLanes;
  const auto rest = hn::FirstN(d, static_cast<size_t>(columns - whole));
  for (int64_t r = begin; r < end; ++r) {
    const float* const x = args.x + r * args.x_row;
    const float* const x0 = args.x0 + r * args.x0_row;
    float* const y = args.y + r * args.y_row;
    VF even = hn::Zero(d), odd = even;
    int64_t c = 0;
    for (; c + 2 * kLanes <= whole; c += 2 * kLanes) {
      even = hn::MulAdd(hn::LoadU(d, x + c), hn::LoadU(d, args.weight + c), even);
      odd = hn::MulAdd(hn::LoadU(d, x + c + kLanes), hn::LoadU(d, args.weight + c + kLanes), odd);
    }
    if (c < whole) even = hn::MulAdd(hn::LoadU(d, x + c), hn::LoadU(d, args.weight + c), even);
    if (whole < columns) {
      odd = hn::MulAdd(hn::MaskedLoad(rest, d, x + whole),
                       hn::MaskedLoad(rest, d, args.weight + whole), odd);
    }
    const VF dot = hn::SumOfLanes(d, hn::Add(even, odd));
    for (c = 0; c < whole; c += kLanes) {
      VF v = hn::Mul(hn::LoadU(d, x0 + c), dot);
      if (args.bias != nullptr) v = hn::Add(v, hn::LoadU(d, args.bias + c));
      hn::StoreU(hn::Add(v, hn::LoadU(d, x + c)), d, y + c);
    }
    if (whole == columns) continue;
    VF v = hn::Mul(hn::MaskedLoad(rest, d, x0 + whole), dot);
    if (args.bias != nullptr) v = hn::Add(v, hn::MaskedLoad(rest, d, args.bias + whole));
    hn::BlendedStore(hn::Add(v, hn::MaskedLoad(rest, d, x + whole)), rest, d, y + whole);
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

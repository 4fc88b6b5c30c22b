// Compiled once per target: norms, softmax and reductions of f32 rows.
#include "kernels/cpu/rows.h"

#include "kernels/cpu/fold.h"
#include "kernels/cpu/log.h"
#include "kernels/cpu/low_gemm.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

// Reads whole and partial vectors of a run.
struct Plain {
  const float* x;
  HWY_INLINE VF operator()(int64_t i) const { return hn::LoadU(F32(), x + i); }
  template <class M>
  HWY_INLINE VF operator()(int64_t i, M rest) const {
    return hn::MaskedLoad(rest, F32(), x + i);
  }
};

float SumOf(const float* x, int64_t n) {
  const Plain load{x};
  return SumRun(n, load, load, [](VF v) HWY_ATTR { return v; });
}

float SumOfSquares(const float* x, int64_t n) {
  const Plain load{x};
  return SumRun(n, load, load, [](VF v) HWY_ATTR { return hn::Mul(v, v); });
}

// Sum of x + r, which is left in t. t may be x or r.
float AddInto(const float* x, const float* r, int64_t n, float* t) {
  const F32 d;
  const auto keep = [&](int64_t i) HWY_ATTR {
    const VF v = hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, r + i));
    hn::StoreU(v, d, t + i);
    return v;
  };
  const auto keep_part = [&](int64_t i, auto rest) HWY_ATTR {
    const VF v = hn::Add(hn::MaskedLoad(rest, d, x + i), hn::MaskedLoad(rest, d, r + i));
    hn::BlendedStore(v, rest, d, t + i);
    return v;
  };
  return SumRun(n, keep, keep_part, [](VF v) HWY_ATTR { return v; });
}

// y = (t - mean) * inv * scale + bias; y may be t.
void NormaliseRow(const float* t, int64_t n, float mean, float inv, const float* scale,
                  const float* bias, float* y) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF m = hn::Set(d, mean);
  const VF s = hn::Set(d, inv);
  int64_t i = 0;
  if (scale != nullptr && bias != nullptr) {
    for (; i + lanes <= n; i += lanes) {
      const VF v = hn::Mul(hn::Sub(hn::LoadU(d, t + i), m), s);
      hn::StoreU(hn::MulAdd(v, hn::LoadU(d, scale + i), hn::LoadU(d, bias + i)), d, y + i);
    }
  } else {
    for (; i + lanes <= n; i += lanes) {
      VF v = hn::Mul(hn::Sub(hn::LoadU(d, t + i), m), s);
      if (scale != nullptr) v = hn::Mul(v, hn::LoadU(d, scale + i));
      if (bias != nullptr) v = hn::Add(v, hn::LoadU(d, bias + i));
      hn::StoreU(v, d, y + i);
    }
  }
  if (i == n) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(n - i));
  VF v = hn::Mul(hn::Sub(hn::MaskedLoad(rest, d, t + i), m), s);
  if (scale != nullptr && bias != nullptr) {
    v = hn::MulAdd(v, hn::MaskedLoad(rest, d, scale + i), hn::MaskedLoad(rest, d, bias + i));
  } else if (scale != nullptr) {
    v = hn::Mul(v, hn::MaskedLoad(rest, d, scale + i));
  } else if (bias != nullptr) {
    v = hn::Add(v, hn::MaskedLoad(rest, d, bias + i));
  }
  hn::BlendedStore(v, rest, d, y + i);
}

void CopyRow(const float* from, int64_t n, float* to) {
  const Plain load{from};
  MapRun(n, load, load, to, [](VF v) HWY_ATTR { return v; });
}

}  // namespace

void RunRowNorm(const RowNormArgs& args, int64_t begin, int64_t end) {
  const F32 d;
  const int64_t n = args.columns;
  const float count = static_cast<float>(n);
  PrepareRowsArgs prepare;
  prepare.k = n;
  prepare.a = args.y;
  prepare.a_stride = args.y_stride;
  prepare.rows = args.prepared;
  prepare.path = args.prepared_path;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = args.x + row * args.x_stride;
    float* y = args.y + row * args.y_stride;
    float* sum_row = args.sum != nullptr ? args.sum + row * args.sum_stride : nullptr;
    const float* t = x;
    float total = 0;
    if (args.residual != nullptr) {
      float* to = sum_row != nullptr ? sum_row : y;
      total = AddInto(x, args.residual + row * args.residual_stride, n, to);
      t = to;
    } else {
      if (sum_row != nullptr) CopyRow(x, n, sum_row);
      if (!args.rms) total = SumOf(x, n);
    }
    float mean = 0;
    float square;
    if (args.rms) {
      square = SumOfSquares(t, n);
    } else {
      mean = total / count;
      const VF m = hn::Set(d, mean);
      const Plain load{t};
      square = SumRun(n, load, load, [m](VF v) HWY_ATTR {
        const VF c = hn::Sub(v, m);
        return hn::Mul(c, c);
      });
    }
    const float inv = 1.0f / __builtin_sqrtf(square / count + args.epsilon);
    NormaliseRow(t, n, mean, inv, args.scale, args.bias, y);
    if (args.prepared.data != nullptr) RunPrepareRows(prepare, row, row + 1);
  }
}

void RunRowL2Norm(const RowL2NormArgs& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = args.x + row * args.columns;
    const float norm = __builtin_sqrtf(SumOfSquares(x, args.columns));
    const VF divisor = hn::Set(F32(), norm < args.epsilon ? args.epsilon : norm);
    const Plain load{x};
    MapRun(args.columns, load, load, args.y + row * args.columns,
           [divisor](VF v) HWY_ATTR { return hn::Div(v, divisor); });
  }
}

namespace {

// y = scale * x + mask; returns the largest.
float ScaleAndMask(const float* x, const float* mask, float scale, int64_t n, float* y) {
  const F32 d;
  const VF s = hn::Set(d, scale);
  const auto whole = [&](int64_t i) HWY_ATTR {
    VF v = hn::LoadU(d, x + i);
    v = mask != nullptr ? hn::MulAdd(v, s, hn::LoadU(d, mask + i)) : hn::Mul(v, s);
    hn::StoreU(v, d, y + i);
    return v;
  };
  const auto part = [&](int64_t i, auto rest) HWY_ATTR {
    VF v = hn::MaskedLoad(rest, d, x + i);
    v = mask != nullptr ? hn::MulAdd(v, s, hn::MaskedLoad(rest, d, mask + i)) : hn::Mul(v, s);
    hn::BlendedStore(v, rest, d, y + i);
    return v;
  };
  return MaxRun(n, whole, part);
}

// y = e^(y - top) if `keep`; returns their sum.
float ExpInto(float top, int64_t n, float* y, bool keep) {
  const F32 d;
  const VF t = hn::Set(d, top);
  const auto whole = [&](int64_t i) HWY_ATTR {
    const VF v = Exp(hn::Sub(hn::LoadU(d, y + i), t));
    if (keep) hn::StoreU(v, d, y + i);
    return v;
  };
  const auto part = [&](int64_t i, auto rest) HWY_ATTR {
    const VF v = Exp(hn::Sub(hn::MaskedLoad(rest, d, y + i), t));
    if (keep) hn::BlendedStore(v, rest, d, y + i);
    return v;
  };
  return SumRun(n, whole, part, [](VF v) HWY_ATTR { return v; });
}

}  // namespace

void RunRowSoftmax(const RowSoftmaxArgs& args, int64_t begin, int64_t end) {
  const F32 d;
  const int64_t n = args.columns;
  for (int64_t row = begin; row < end; ++row) {
    const float* mask = nullptr;
    if (args.mask != nullptr) {
      const int64_t middle = row / args.inner;
      mask = args.mask + middle / args.middle * args.mask_outer +
             middle % args.middle * args.mask_middle + row % args.inner * args.mask_inner;
    }
    float* y = args.y + row * n;
    const float top = ScaleAndMask(args.x + row * n, mask, args.scale, n, y);
    const float sum = ExpInto(top, n, y, !args.log);
    const Plain load{y};
    if (args.log) {
      const VF t = hn::Set(d, top);
      const VF log_sum = Log(hn::Set(d, sum));
      MapRun(n, load, load, y,
             [t, log_sum](VF v) HWY_ATTR { return hn::Sub(hn::Sub(v, t), log_sum); });
    } else {
      const VF inv = hn::Set(d, 1.0f / sum);
      MapRun(n, load, load, y, [inv](VF v) HWY_ATTR { return hn::Mul(v, inv); });
    }
  }
}

namespace {

float ReduceRun(RowReduceOp op, const float* x, int64_t n) {
  const F32 d;
  const Plain load{x};
  switch (op) {
    case RowReduceOp::kSum:
      return SumOf(x, n);
    case RowReduceOp::kMean:
      return SumOf(x, n) / static_cast<float>(n > 0 ? n : 1);
    case RowReduceOp::kSumSquares:
      return SumOfSquares(x, n);
    case RowReduceOp::kL1:
      return SumRun(n, load, load, [](VF v) HWY_ATTR { return hn::Abs(v); });
    default:
      break;
  }
  // The maximum of the negated is the negated minimum. NaN is looked for apart.
  const VF sign = hn::Set(d, op == RowReduceOp::kMin ? -1.0f : 1.0f);
  const float top = MaxRun(
      n, [&](int64_t i) HWY_ATTR { return hn::Mul(load(i), sign); },
      [&](int64_t i, auto rest) HWY_ATTR { return hn::Mul(load(i, rest), sign); });
  const float nans = SumRun(n, load, load, [d](VF v) HWY_ATTR {
    return hn::IfThenElseZero(hn::IsNaN(v), hn::Set(d, 1.0f));
  });
  return nans > 0 ? __builtin_nanf("") : top * hn::GetLane(sign);
}

// One step of a fold down the middle axis.
template <RowReduceOp kOp>
HWY_INLINE VF FoldDown(VF acc, VF v) {
  if constexpr (kOp == RowReduceOp::kMax || kOp == RowReduceOp::kMin) {
    const VF better =
        kOp == RowReduceOp::kMax ? hn::Max(acc, v) : hn::Min(acc, v);  // v if either is NaN
    return hn::IfThenElse(hn::IsNaN(acc), acc, better);
  } else if constexpr (kOp == RowReduceOp::kSumSquares) {
    return hn::MulAdd(v, v, acc);
  } else if constexpr (kOp == RowReduceOp::kL1) {
    return hn::Add(acc, hn::Abs(v));
  } else {
    return hn::Add(acc, v);
  }
}

// Sums are folded in blocks of so many rows, the even and the odd rows of a block apart, and the
// blocks added up: rounding errors grow with the number of blocks, and two adds are in flight.
constexpr int64_t kFoldBlock = 64;

template <RowReduceOp kOp>
inline constexpr bool kSelects = kOp == RowReduceOp::kMax || kOp == RowReduceOp::kMin;

template <RowReduceOp kOp>
HWY_INLINE VF FoldStart() {
  const F32 d;
  if constexpr (!kSelects<kOp>) return hn::Zero(d);
  return kOp == RowReduceOp::kMax ? hn::Neg(hn::Inf(d)) : hn::Inf(d);
}

// Two partial results of one column.
template <RowReduceOp kOp>
HWY_INLINE VF FoldBoth(VF a, VF b) {
  if constexpr (kSelects<kOp>) return FoldDown<kOp>(a, b);
  return hn::Add(a, b);
}

// `kVectors` neighbouring vectors of columns down the whole axis; load(at) reads one.
template <RowReduceOp kOp, int kVectors, class Load, class Store>
HWY_INLINE void ReduceColumns(const float* x, int64_t extent, int64_t stride, Load load,
                              Store store) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF start = FoldStart<kOp>();
  VF t0 = start, t1 = start;
  for (int64_t k = 0; k < extent; k += kFoldBlock) {
    const int64_t end = extent - k < kFoldBlock ? extent : k + kFoldBlock;
    VF a0 = start, a1 = start, b0 = start, b1 = start;
    int64_t j = k;
    for (; j + 2 <= end; j += 2) {
      const float* row = x + j * stride;
      a0 = FoldDown<kOp>(a0, load(row));
      b0 = FoldDown<kOp>(b0, load(row + stride));
      if constexpr (kVectors == 2) {
        a1 = FoldDown<kOp>(a1, load(row + lanes));
        b1 = FoldDown<kOp>(b1, load(row + stride + lanes));
      }
    }
    if (j < end) {
      a0 = FoldDown<kOp>(a0, load(x + j * stride));
      if constexpr (kVectors == 2) a1 = FoldDown<kOp>(a1, load(x + j * stride + lanes));
    }
    t0 = FoldBoth<kOp>(t0, FoldBoth<kOp>(a0, b0));
    if constexpr (kVectors == 2) t1 = FoldBoth<kOp>(t1, FoldBoth<kOp>(a1, b1));
  }
  if constexpr (kOp == RowReduceOp::kMean) {
    const VF count = hn::Set(d, static_cast<float>(extent > 0 ? extent : 1));
    t0 = hn::Div(t0, count);
    t1 = hn::Div(t1, count);
  }
  store(0, t0);
  if constexpr (kVectors == 2) store(lanes, t1);
}

template <RowReduceOp kOp>
void ReduceDown(const RowReduceArgs& args, int64_t outer, int64_t begin, int64_t end) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* x = args.x + outer * args.extent * args.inner;
  float* y = args.y + outer * args.inner;
  const auto whole = [d](const float* at) HWY_ATTR { return hn::LoadU(d, at); };
  int64_t i = begin;
  for (; i + 2 * lanes <= end; i += 2 * lanes) {
    ReduceColumns<kOp, 2>(x + i, args.extent, args.inner, whole,
                          [&](int64_t at, VF v) HWY_ATTR { hn::StoreU(v, d, y + i + at); });
  }
  for (; i + lanes <= end; i += lanes) {
    ReduceColumns<kOp, 1>(x + i, args.extent, args.inner, whole,
                          [&](int64_t at, VF v) HWY_ATTR { hn::StoreU(v, d, y + i + at); });
  }
  if (i == end) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(end - i));
  ReduceColumns<kOp, 1>(
      x + i, args.extent, args.inner,
      [&](const float* at) HWY_ATTR { return hn::MaskedLoad(rest, d, at); },
      [&](int64_t at, VF v) HWY_ATTR { hn::BlendedStore(v, rest, d, y + i + at); });
}

}  // namespace

void RunReduceLast(const RowReduceArgs& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    args.y[row] = ReduceRun(args.op, args.x + row * args.extent, args.extent);
  }
}

void RunReduceMiddle(const RowReduceArgs& args, int64_t outer, int64_t begin, int64_t end) {
  switch (args.op) {
    case RowReduceOp::kSum:
      return ReduceDown<RowReduceOp::kSum>(args, outer, begin, end);
    case RowReduceOp::kMean:
      return ReduceDown<RowReduceOp::kMean>(args, outer, begin, end);
    case RowReduceOp::kMax:
      return ReduceDown<RowReduceOp::kMax>(args, outer, begin, end);
    case RowReduceOp::kMin:
      return ReduceDown<RowReduceOp::kMin>(args, outer, begin, end);
    case RowReduceOp::kSumSquares:
      return ReduceDown<RowReduceOp::kSumSquares>(args, outer, begin, end);
    case RowReduceOp::kL1:
      return ReduceDown<RowReduceOp::kL1>(args, outer, begin, end);
  }
}

void RunMaskedMean(const MaskedMeanArgs& args, int64_t batch, int64_t begin, int64_t end) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* mask = args.mask + batch * args.length;
  const float* x = args.x + batch * args.length * args.columns;
  float* y = args.y + batch * args.columns;
  float weight = 0;
  for (int64_t s = 0; s < args.length; ++s) weight += mask[s];
  const VF divisor = hn::Set(d, weight < args.epsilon ? args.epsilon : weight);
  int64_t i = begin;
  for (; i + 4 * lanes <= end; i += 4 * lanes) {
    VF a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0;
    for (int64_t s = 0; s < args.length; ++s) {
      if (mask[s] == 0) continue;
      const VF m = hn::Set(d, mask[s]);
      const float* row = x + s * args.columns + i;
      a0 = hn::MulAdd(m, hn::LoadU(d, row), a0);
      a1 = hn::MulAdd(m, hn::LoadU(d, row + lanes), a1);
      a2 = hn::MulAdd(m, hn::LoadU(d, row + 2 * lanes), a2);
      a3 = hn::MulAdd(m, hn::LoadU(d, row + 3 * lanes), a3);
    }
    hn::StoreU(hn::Div(a0, divisor), d, y + i);
    hn::StoreU(hn::Div(a1, divisor), d, y + i + lanes);
    hn::StoreU(hn::Div(a2, divisor), d, y + i + 2 * lanes);
    hn::StoreU(hn::Div(a3, divisor), d, y + i + 3 * lanes);
  }
  for (; i < end; i += lanes) {
    const auto rest = hn::FirstN(d, static_cast<size_t>(end - i < lanes ? end - i : lanes));
    VF acc = hn::Zero(d);
    for (int64_t s = 0; s < args.length; ++s) {
      if (mask[s] == 0) continue;
      acc = hn::MulAdd(hn::Set(d, mask[s]), hn::MaskedLoad(rest, d, x + s * args.columns + i), acc);
    }
    hn::BlendedStore(hn::Div(acc, divisor), rest, d, y + i);
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

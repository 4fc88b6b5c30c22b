// Reductions, arg-reductions, running sums.
#include "kernels/ref/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/ref/lanes.h"
#include "kernels/ref/walk.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

// x's axes split into those that stay (operand 0: x, operand 1: y) and those that are folded.
struct ReduceWalks {
  Walk<2> kept;
  Walk<1> folded;
  int64_t folded_count = 1;
};

ReduceWalks SplitAxes(const Shape& x, uint32_t axes) {
  int64_t strides[kMaxRank];
  DenseStrides(x, strides);
  int64_t kept_after[kMaxRank];
  int64_t kept = 1;
  for (int i = x.rank() - 1; i >= 0; --i) {
    kept_after[i] = kept;
    if ((axes >> i & 1) == 0) kept *= x[i];
  }
  ReduceWalks walks;
  for (int i = 0; i < x.rank(); ++i) {
    if (axes >> i & 1) {
      walks.folded.Append(x[i], {strides[i]});
      walks.folded_count *= x[i];
    } else {
      walks.kept.Append(x[i], {strides[i], kept_after[i]});
    }
  }
  return walks;
}

// Folds every element of one set, widened, into `fold(value)`.
template <class W, class F>
void FoldSet(const ConstView& x, int64_t offset, const Walk<1>& folded, F&& fold) {
  W lanes[kLanes];
  folded.Rows([&](const int64_t(&at)[1], int64_t n, const int64_t(&s)[1]) {
    for (int64_t i = 0; i < n; i += kLanes) {
      const int64_t m = n - i < kLanes ? n - i : kLanes;
      LoadLanes(x.dtype, x.data, offset + at[0] + i * s[0], s[0], m, lanes);
      for (int64_t j = 0; j < m; ++j) fold(lanes[j]);
    }
  });
}

template <class W>
W Magnitude(W x) {
  if constexpr (std::is_same_v<W, double>)
    return std::fabs(x);
  else
    return x < 0 ? static_cast<W>(0 - static_cast<uint64_t>(x)) : x;
}

// The neutral elements of max and min in x's own dtype.
template <class W>
W Lowest(DType dtype) {
  if constexpr (std::is_same_v<W, double>) return -std::numeric_limits<double>::infinity();
  switch (dtype) {
    case DType::kI8:
      return static_cast<W>(std::numeric_limits<int8_t>::min());
    case DType::kI16:
      return static_cast<W>(std::numeric_limits<int16_t>::min());
    case DType::kI32:
      return static_cast<W>(std::numeric_limits<int32_t>::min());
    case DType::kI64:
      return static_cast<W>(std::numeric_limits<int64_t>::min());
    default:
      return W(0);
  }
}
template <class W>
W Highest(DType dtype) {
  if constexpr (std::is_same_v<W, double>) return std::numeric_limits<double>::infinity();
  switch (dtype) {
    case DType::kI8:
      return static_cast<W>(std::numeric_limits<int8_t>::max());
    case DType::kI16:
      return static_cast<W>(std::numeric_limits<int16_t>::max());
    case DType::kI32:
      return static_cast<W>(std::numeric_limits<int32_t>::max());
    case DType::kI64:
      return static_cast<W>(std::numeric_limits<int64_t>::max());
    case DType::kU8:
      return static_cast<W>(std::numeric_limits<uint8_t>::max());
    case DType::kU16:
      return static_cast<W>(std::numeric_limits<uint16_t>::max());
    case DType::kU32:
      return static_cast<W>(std::numeric_limits<uint32_t>::max());
    case DType::kBool:
      return W(1);
    default:
      return static_cast<W>(std::numeric_limits<uint64_t>::max());
  }
}

template <class W>
W ReduceSet(ReduceOp op, const ConstView& x, int64_t offset, const ReduceWalks& walks) {
  using enum ReduceOp;
  W acc = 0;
  const auto fold = [&](auto&& f) { FoldSet<W>(x, offset, walks.folded, f); };
  switch (op) {
    case kSum:
    case kMean:
    case kLogSum:
      fold([&](W v) { acc = WrapAdd(acc, v); });
      break;
    case kL1:
      fold([&](W v) { acc = WrapAdd(acc, Magnitude(v)); });
      break;
    case kL2:
    case kSumSquare:
      fold([&](W v) { acc = WrapAdd(acc, WrapMul(v, v)); });
      break;
    case kProd:
      acc = 1;
      fold([&](W v) { acc = WrapMul(acc, v); });
      break;
    case kMax:
    case kLogSumExp:
      acc = Lowest<W>(x.dtype);
      fold([&](W v) { acc = v > acc || v != v ? v : acc; });
      break;
    case kMin:
      acc = Highest<W>(x.dtype);
      fold([&](W v) { acc = v < acc || v != v ? v : acc; });
      break;
  }
  if constexpr (std::is_same_v<W, double>) {
    if (op == kMean) return acc / static_cast<double>(std::max<int64_t>(walks.folded_count, 1));
    if (op == kLogSum) return std::log(acc);
    if (op == kL2) return std::sqrt(acc);
    if (op == kLogSumExp) {
      if (std::isinf(acc) || std::isnan(acc)) return acc;
      double sum = 0;
      fold([&](double v) { sum += std::exp(v - acc); });
      return acc + std::log(sum);
    }
  } else if (op == kMean) {
    return walks.folded_count == 0 ? W(0)
                                   : static_cast<W>(acc / static_cast<W>(walks.folded_count));
  }
  return acc;
}

}  // namespace

void Reduce(const ReduceArgs& args) {
  const ReduceWalks walks = SplitAxes(args.x.shape, args.axes);
  const bool in_double =
      args.op == ReduceOp::kL2 || args.op == ReduceOp::kLogSum || args.op == ReduceOp::kLogSumExp;
  WithWide(in_double ? DType::kF64 : args.x.dtype, [&](auto tag) {
    using W = decltype(tag);
    int64_t written = 0;
    walks.kept.Each([&](const int64_t(&at)[2]) {
      StoreOne(args.y.dtype, args.y.data, at[1], ReduceSet<W>(args.op, args.x, at[0], walks));
      ++written;
    });
    CHECK_EQ(written, args.y.shape.elements());
  });
}

namespace {

// Outer, axis and inner extents of x around `axis` (negative counts from the end).
struct AxisSplit {
  int64_t outer = 1;
  int64_t extent = 1;
  int64_t inner = 1;
};
AxisSplit SplitAt(const Shape& shape, int axis) {
  if (axis < 0) axis += shape.rank();
  if (shape.rank() == 0) return {};
  return {shape.elements(0, axis), shape[axis], shape.elements(axis + 1, shape.rank())};
}

// Whether v replaces the best seen before it. NaN is better than any number.
template <class W>
bool Beats(W v, W best, bool largest, bool select_last) {
  if (v != v || best != best) return v != v && (best == best || select_last);
  if (v == best) return select_last;
  return largest ? v > best : v < best;
}

}  // namespace

void ArgReduce(const ArgReduceArgs& args) {
  const AxisSplit split = SplitAt(args.x.shape, args.axis);
  CHECK_EQ(args.y.shape.elements(), split.outer * split.inner);
  CHECK(split.extent > 0 || args.y.shape.elements() == 0);
  int64_t* y = args.y.as<int64_t>();
  WithWide(args.x.dtype, [&](auto tag) {
    using W = decltype(tag);
    for (int64_t o = 0; o < split.outer; ++o) {
      for (int64_t i = 0; i < split.inner; ++i) {
        Walk<1> set;
        set.Append(split.extent, {split.inner});
        W best = 0;
        int64_t where = 0;
        int64_t index = 0;
        FoldSet<W>(args.x, o * split.extent * split.inner + i, set, [&](W v) {
          if (index == 0 || Beats(v, best, args.largest, args.select_last)) {
            best = v;
            where = index;
          }
          ++index;
        });
        y[o * split.inner + i] = where;
      }
    }
  });
}

void Cumulative(const CumulativeArgs& args) {
  const AxisSplit split = SplitAt(args.x.shape, args.axis);
  CHECK_EQ(args.y.shape.elements(), args.x.shape.elements());
  WithWide(args.x.dtype, [&](auto tag) {
    using W = decltype(tag);
    W acc[kLanes];
    W lanes[kLanes];
    const auto take = [&](W& sum, W& value) {
      const W next = args.product ? WrapMul(sum, value) : WrapAdd(sum, value);
      value = args.exclusive ? sum : next;
      sum = next;
    };
    // Lanes are runs along the axis where nothing lies inside it, else its neighbours inside.
    const int64_t along = split.inner == 1 ? kLanes : 1;
    const int64_t beside = split.inner == 1 ? 1 : kLanes;
    const int64_t direction = args.reverse ? -1 : 1;
    for (int64_t o = 0; o < split.outer; ++o) {
      for (int64_t i = 0; i < split.inner; i += beside) {
        const int64_t width = std::min(beside, split.inner - i);
        std::fill_n(acc, width, args.product ? W(1) : W(0));
        for (int64_t k = 0; k < split.extent; k += along) {
          const int64_t step = args.reverse ? split.extent - 1 - k : k;
          const int64_t at = (o * split.extent + step) * split.inner + i;
          const int64_t count = std::min(along, split.extent - k);
          const int64_t n = std::max(width, count);
          const int64_t stride = split.inner == 1 ? direction : 1;
          LoadLanes(args.x.dtype, args.x.data, at, stride, n, lanes);
          for (int64_t j = 0; j < n; ++j) take(acc[split.inner == 1 ? 0 : j], lanes[j]);
          StoreLanes(args.y.dtype, args.y.data, at, stride, n, lanes);
        }
      }
    }
  });
}

void Softmax(const SoftmaxArgs& args) {
  const AxisSplit split = SplitAt(args.x.shape, args.axis);
  CHECK_EQ(args.y.shape.elements(), args.x.shape.elements());
  if (split.extent == 0) return;
  const DType from = args.x.dtype;
  double lanes[kLanes];
  for (int64_t o = 0; o < split.outer; ++o) {
    for (int64_t i = 0; i < split.inner; ++i) {
      const int64_t base = o * split.extent * split.inner + i;
      Walk<1> set;
      set.Append(split.extent, {split.inner});
      double top = -std::numeric_limits<double>::infinity();
      int64_t first = 0;
      int64_t index = 0;
      FoldSet<double>(args.x, base, set, [&](double v) {
        if (v > top || (v != v && top == top)) {
          top = v;
          first = index;
        }
        ++index;
      });
      double sum = 0;
      if (args.op != SoftmaxOp::kHardmax) {
        FoldSet<double>(args.x, base, set, [&](double v) { sum += std::exp(v - top); });
      }
      const double log_sum = std::log(sum);
      for (int64_t k = 0; k < split.extent; k += kLanes) {
        const int64_t n = split.extent - k < kLanes ? split.extent - k : kLanes;
        const int64_t at = base + k * split.inner;
        LoadLanes(from, args.x.data, at, split.inner, n, lanes);
        for (int64_t j = 0; j < n; ++j) {
          switch (args.op) {
            case SoftmaxOp::kSoftmax:
              lanes[j] = std::exp(lanes[j] - top) / sum;
              break;
            case SoftmaxOp::kLogSoftmax:
              lanes[j] = lanes[j] - top - log_sum;
              break;
            case SoftmaxOp::kHardmax:
              lanes[j] = k + j == first ? 1 : 0;
              break;
          }
        }
        StoreLanes(args.y.dtype, args.y.data, at, split.inner, n, lanes);
      }
    }
  }
}

}  // namespace sluice::kernels::ref

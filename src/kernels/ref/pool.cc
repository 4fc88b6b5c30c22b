// Pooling over windows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/lanes.h"
#include "kernels/ref/taps.h"
#include "kernels/ref/window.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

// Taps that lie within x and its pads, for the output at `run` + i.
int64_t PaddedTaps(const PoolArgs& args, const OutputRun& run, int64_t i) {
  const int rank = args.x.shape.rank() - 2;
  int64_t taps = 1;
  for (int d = 0; d < rank; ++d) {
    const int64_t at = run.at[d] + (d == rank - 1 ? i : 0);
    const int64_t begin = at * args.window.stride[d] - args.window.pad[d];
    const int64_t room = args.x.shape[d + 2] + args.pad_end[d] - begin;
    const int64_t step = args.window.dilation[d];
    taps *= std::clamp((room + step - 1) / step, int64_t{0}, args.window.kernel[d]);
  }
  return taps;
}

// The position within a plane counted with the spatial axes in reverse.
int64_t ColumnMajor(const tensor::Shape& x, int64_t row_major) {
  int64_t index[kMaxSpatial] = {};
  const int rank = x.rank() - 2;
  for (int d = rank - 1; d >= 0; --d) {
    index[d] = row_major % x[d + 2];
    row_major /= x[d + 2];
  }
  int64_t at = 0;
  for (int d = rank - 1; d >= 0; --d) at = at * x[d + 2] + index[d];
  return at;
}

template <class W>
void MaxPool(const PoolArgs& args) {
  const SpatialGrid grid(args.x.shape, args.y.shape, args.window);
  const int64_t planes = args.x.shape[0] * args.x.shape[1];
  constexpr bool kFloat = std::is_same_v<W, double>;
  W best[kLanes];
  int64_t where[kLanes];
  W lanes[kLanes];
  for (int64_t plane = 0; plane < planes; ++plane) {
    grid.Runs([&](const OutputRun& run) {
      std::fill(where, where + run.count, int64_t{-1});
      std::fill(best, best + run.count,
                kFloat ? static_cast<W>(-std::numeric_limits<double>::infinity()) : W(0));
      grid.Taps(run, [&](const RunTap& tap) {
        LoadLanes(args.x.dtype, args.x.data, plane * grid.in_plane() + tap.from, tap.stride,
                  tap.end - tap.begin, lanes);
        for (int64_t i = tap.begin; i < tap.end; ++i) {
          const W v = lanes[i - tap.begin];
          if (where[i] < 0 || v > best[i] || (v != v && best[i] == best[i])) {
            best[i] = v;
            where[i] = tap.from + (i - tap.begin) * tap.stride;
          }
        }
      });
      const int64_t to = plane * grid.out_plane() + run.first;
      StoreLanes(args.y.dtype, args.y.data, to, 1, run.count, best);
      if (args.indices.data == nullptr) return;
      for (int64_t i = 0; i < run.count; ++i) {
        const int64_t in = where[i] < 0        ? 0
                           : args.column_major ? ColumnMajor(args.x.shape, where[i])
                                               : where[i];
        args.indices.as<int64_t>()[to + i] = plane * grid.in_plane() + in;
      }
    });
  }
}

void SumPool(const PoolArgs& args) {
  const SpatialGrid grid(args.x.shape, args.y.shape, args.window);
  const int64_t planes = args.x.shape[0] * args.x.shape[1];
  const bool average = args.op == PoolOp::kAverage;
  const double p = static_cast<double>(args.p);
  double sums[kLanes];
  int64_t counts[kLanes];
  double lanes[kLanes];
  for (int64_t plane = 0; plane < planes; ++plane) {
    grid.Runs([&](const OutputRun& run) {
      std::fill(sums, sums + run.count, 0.0);
      std::fill(counts, counts + run.count, int64_t{0});
      grid.Taps(run, [&](const RunTap& tap) {
        LoadLanes(args.x.dtype, args.x.data, plane * grid.in_plane() + tap.from, tap.stride,
                  tap.end - tap.begin, lanes);
        for (int64_t i = tap.begin; i < tap.end; ++i) {
          const double v = lanes[i - tap.begin];
          sums[i] += average ? v : std::pow(std::fabs(v), p);
          ++counts[i];
        }
      });
      for (int64_t i = 0; i < run.count; ++i) {
        if (average) {
          sums[i] /= static_cast<double>(args.include_pad ? PaddedTaps(args, run, i) : counts[i]);
        } else {
          sums[i] = std::pow(sums[i], 1 / p);
        }
      }
      StoreLanes(args.y.dtype, args.y.data, plane * grid.out_plane() + run.first, 1, run.count,
                 sums);
    });
  }
}

}  // namespace

void Pool(const PoolArgs& args) {
  if (args.op != PoolOp::kMax) return SumPool(args);
  WithWide(args.x.dtype, [&](auto tag) { MaxPool<decltype(tag)>(args); });
}

}  // namespace sluice::kernels::ref

#include "kernels/segments.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sluice::kernels {
namespace {

constexpr int64_t kColumnsAtOnce = 64;  // accumulators that stay in registers or the first cache

template <class Combine>
void ReduceColumns(const SegmentReduceArgs& args, int64_t segment, int64_t first, float start,
                   Combine combine) {
  const int64_t count = std::min(kColumnsAtOnce, args.columns - first);
  float sums[kColumnsAtOnce];
  std::fill(sums, sums + kColumnsAtOnce, start);
  for (int64_t row = args.starts[segment]; row < args.starts[segment + 1]; ++row) {
    const float* const x = args.x + row * args.columns + first;
    for (int64_t i = 0; i < count; ++i) sums[i] = combine(sums[i], x[i]);
  }
  std::copy(sums, sums + count, args.y + segment * args.columns + first);
}

template <class T>
void Sums(const SegmentSumsArgs& args) {
  const T* const x = static_cast<const T*>(args.x);
  T* const y = static_cast<T*>(args.y);
  for (int64_t segment = 0; segment < args.segments; ++segment) {
    T sum = 0;
    for (int64_t row = args.starts[segment]; row < args.starts[segment + 1]; ++row) {
      // Clients choose x: the sum may wrap, as the padded graph's does.
      if (__builtin_add_overflow(sum, x[row], &sum)) {
      }
      y[row] = sum;
    }
  }
  std::fill(y + args.starts[args.segments], y + args.rows, T{0});
}

}  // namespace

int64_t SegmentReduceTiles(const SegmentReduceArgs& args) {
  return args.segments;
}

void SegmentReduce(const SegmentReduceArgs& args, Tiles tiles) {
  for (int64_t segment = tiles.begin; segment < tiles.end; ++segment) {
    if (args.mode == SegmentMode::kFirst) {
      float* const y = args.y + segment * args.columns;
      if (args.starts[segment] == args.starts[segment + 1]) {
        std::fill(y, y + args.columns, 0.0F);
      } else {
        const float* const x = args.x + args.starts[segment] * args.columns;
        std::copy(x, x + args.columns, y);
      }
      continue;
    }
    for (int64_t first = 0; first < args.columns; first += kColumnsAtOnce) {
      if (args.mode == SegmentMode::kSum) {
        ReduceColumns(args, segment, first, 0.0F, [](float a, float b) { return a + b; });
      } else {
        ReduceColumns(args, segment, first, -std::numeric_limits<float>::infinity(),
                      [](float a, float b) { return b > a || std::isnan(b) ? b : a; });
      }
    }
  }
}

Work SegmentReduceWork(const SegmentReduceArgs& args) {
  const int64_t elements =
      (args.mode == SegmentMode::kFirst ? args.segments : args.rows) * args.columns;
  return {elements, (elements + args.segments * args.columns) * 4};
}

void SegmentLengths(const SegmentLengthsArgs& args) {
  for (int64_t segment = 0; segment < args.segments; ++segment) {
    const int32_t length = args.starts[segment + 1] - args.starts[segment];
    if (args.integer) {
      static_cast<int64_t*>(args.y)[segment] = length;
    } else {
      static_cast<float*>(args.y)[segment] = static_cast<float>(length);
    }
  }
}

void SegmentSums(const SegmentSumsArgs& args) {
  args.wide ? Sums<int64_t>(args) : Sums<int32_t>(args);
}

}  // namespace sluice::kernels

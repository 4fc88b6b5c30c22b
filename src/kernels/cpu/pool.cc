// Pools, compiled once per target: the channels of a pixel are the lanes.
#include "kernels/cpu/pool.h"

#include "kernels/cpu/math.h"
#include "kernels/cpu/window.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

constexpr int64_t kLanes = static_cast<int64_t>(sizeof(VF) / sizeof(float));

// A maximum that NaN wins.
HWY_INLINE VF Larger(VF best, VF x) {
  const auto wins = hn::AndNot(hn::IsNaN(best), hn::Not(hn::Le(x, best)));
  return hn::IfThenElse(wins, x, best);
}

struct Window {
  InsideTaps rows;
  InsideTaps columns;
  float divisor = 1;
};

// One output pixel; `x` is the window's first pixel, perhaps outside.
template <bool kMean>
inline void PoolPixel(const PoolArgs& args, const Window& window, const float* x, float* y) {
  const F32 d;
  const ImageWindow& w = args.window;
  const int64_t step = w.dilation_columns * args.x_pixel;
  const int64_t line = w.dilation_rows * w.columns * args.x_pixel;
  const VF start = kMean ? hn::Zero(d) : hn::Neg(hn::Inf(d));
  const VF divisor = hn::Set(d, window.divisor);
  const auto fold = [&](auto load) HWY_ATTR {
    VF all = start;
    for (int64_t r = window.rows.low; r < window.rows.high; ++r) {
      const float* at = x + r * line + window.columns.low * step;
      VF row = kMean ? start : all;
      for (int64_t c = window.columns.low; c < window.columns.high; ++c, at += step) {
        row = kMean ? hn::Add(row, load(at)) : Larger(row, load(at));
      }
      all = kMean ? hn::Add(all, row) : row;
    }
    return kMean ? hn::Div(all, divisor) : all;
  };
  int64_t c = 0;
  for (; c + kLanes <= args.channels; c += kLanes) {
    hn::StoreU(fold([&](const float* at) HWY_ATTR { return hn::LoadU(d, at + c); }), d, y + c);
  }
  if (c == args.channels) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(args.channels - c));
  hn::BlendedStore(fold([&](const float* at) HWY_ATTR { return hn::MaskedLoad(rest, d, at + c); }),
                   rest, d, y + c);
}

// Taps of one axis that count for a mean: those inside, or those inside and in the pads.
HWY_INLINE int64_t Counted(const PoolArgs& args, InsideTaps inside, int64_t first, int64_t step,
                           int64_t count, int64_t end) {
  if (!args.count_padding) return inside.high - inside.low;
  return Min(count, Max(0, CeilDiv(end - first, step)));
}

}  // namespace

void RunPool(const PoolArgs& args, int64_t begin, int64_t end) {
  const ImageWindow& w = args.window;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t line = row % w.out_rows * w.stride_rows - w.pad_top;
    const float* const x = args.x + (row / w.out_rows * w.rows + line) * w.columns * args.x_pixel;
    float* y = args.y + row * w.out_columns * args.y_pixel;
    Window window;
    window.rows = TapsInside(line, w.dilation_rows, w.kernel_rows, w.rows);
    const int64_t row_count =
        Counted(args, window.rows, line, w.dilation_rows, w.kernel_rows, w.rows + args.pad_bottom);
    for (int64_t j = 0; j < w.out_columns; ++j, y += args.y_pixel) {
      const int64_t column = j * w.stride_columns - w.pad_left;
      window.columns = TapsInside(column, w.dilation_columns, w.kernel_columns, w.columns);
      const int64_t column_count = Counted(args, window.columns, column, w.dilation_columns,
                                           w.kernel_columns, w.columns + args.pad_right);
      window.divisor = static_cast<float>(row_count * column_count);
      if (args.op == ImagePool::kMean) {
        PoolPixel<true>(args, window, x + column * args.x_pixel, y);
      } else {
        PoolPixel<false>(args, window, x + column * args.x_pixel, y);
      }
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

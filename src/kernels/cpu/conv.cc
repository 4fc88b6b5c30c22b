// Convolutions, compiled once per target. The windows of a strip of pixels are laid into L1 as the
// rows of a product; depthwise windows are summed in registers, a few pixels at a time.
#include "kernels/cpu/conv.h"

#include "kernels/cpu/activate.h"
#include "kernels/cpu/finish.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/window.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

HWY_INLINE void CopyRun(const float* from, int64_t count, float* to) {
  const F32 d;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  if (i == count) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(count - i));
  hn::BlendedStore(hn::MaskedLoad(rest, d, from + i), rest, d, to + i);
}
HWY_INLINE void ZeroRun(int64_t count, float* to) {
  const F32 d;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::Zero(d), d, to + i);
  if (i == count) return;
  hn::BlendedStore(hn::Zero(d), hn::FirstN(d, static_cast<size_t>(count - i)), d, to + i);
}

// Elements [begin, end) of one row of a window whose first column is `column` of the image row at
// `line`; `column` may lie outside, taps `inside` do not.
HWY_INLINE void PackWindowRow(const ConvArgs& args, InsideTaps inside, const float* line,
                              int64_t column, int64_t begin, int64_t end, float* to) {
  const int64_t channels = args.channels;
  const int64_t from = Max(begin, Min(end, inside.low * channels));
  const int64_t until = Max(from, Min(end, inside.high * channels));
  if (from > begin) ZeroRun(from - begin, to);
  if (end > until) ZeroRun(end - until, to + (until - begin));
  const int64_t step = args.window.dilation_columns;
  if (step == 1 && args.x_pixel == channels) {
    CopyRun(line + column * channels + from, until - from, to + (from - begin));
    return;
  }
  for (int64_t at = from; at < until;) {
    const int64_t tap = at / channels;
    const int64_t stop = Min(until, (tap + 1) * channels);
    CopyRun(line + (column + tap * step) * args.x_pixel + (at - tap * channels), stop - at,
            to + (at - begin));
    at = stop;
  }
}

// Elements [k0, k0 + depth) of the windows of `count` pixels from `first` on, a row of the strip
// each.
inline void PackWindows(const ConvArgs& args, int64_t first, int64_t count, int64_t k0,
                        int64_t depth, float* strip) {
  const ImageWindow& w = args.window;
  const int64_t row_elements = w.kernel_columns * args.channels;
  const int64_t first_row = k0 / row_elements;
  int64_t image = first / (w.out_rows * w.out_columns);
  int64_t i = first / w.out_columns % w.out_rows;
  int64_t j = first % w.out_columns;
  for (int64_t p = 0; p < count; ++p) {
    float* const to = strip + p * kStripStride;
    const float* const pixels = args.x + image * w.rows * w.columns * args.x_pixel;
    const int64_t column = j * w.stride_columns - w.pad_left;
    const InsideTaps inside = TapsInside(column, w.dilation_columns, w.kernel_columns, w.columns);
    // Most windows are one run a row.
    const bool whole = w.dilation_columns == 1 && args.x_pixel == args.channels &&
                       inside.high - inside.low == w.kernel_columns;
    int64_t row_begin = first_row * row_elements;
    int64_t line = i * w.stride_rows - w.pad_top + first_row * w.dilation_rows;
    for (; row_begin < k0 + depth; row_begin += row_elements, line += w.dilation_rows) {
      const int64_t begin = Max(k0, row_begin);
      const int64_t end = Min(k0 + depth, row_begin + row_elements);
      if (line < 0 || line >= w.rows) {
        ZeroRun(end - begin, to + (begin - k0));
        continue;
      }
      const float* const from = pixels + line * w.columns * args.x_pixel;
      if (whole) {
        CopyRun(from + column * args.channels + (begin - row_begin), end - begin,
                to + (begin - k0));
        continue;
      }
      PackWindowRow(args, inside, from, column, begin - row_begin, end - row_begin,
                    to + (begin - k0));
    }
    if (++j < w.out_columns) continue;
    j = 0;
    if (++i < w.out_rows) continue;
    i = 0;
    ++image;
  }
}

// Whose C, beside two blocks of B, L2 holds.
constexpr int64_t kChunkRows = 12 * kStripRows;

// A block of B: columns [n0, n1), [k0, k0 + depth) of them.
struct BlockOfB {
  int64_t n0, n1;
  int64_t k0, depth;
};

// What the next block of B needs is fetched while the strips of this one run, a share each: the
// first strip would wait for every line of it otherwise.
class NextBlock {
 public:
  NextBlock(const ConvArgs& args, const BlockOfB& block, int64_t strips)
      : k_(args.weight.k), n0_(block.n0), n1_(block.n1), strips_(strips) {
    if (block.depth == 0) return;
    from_ = reinterpret_cast<const char*>(args.weight.data + block.k0 * kPanel);
    bytes_ = block.depth * kPanel * static_cast<int64_t>(sizeof(float));
  }

  // For the tile of strip `strip` whose columns are `j` on from the block's first.
  void Set(int64_t strip, int64_t j, MicroArgs& micro) const {
    micro.part = PartOf(micro.depth);
    const char* at = reinterpret_cast<const char*>(micro.b);
    int64_t step = 0;
    if (n0_ + j < n1_) {
      const int64_t share = CeilDiv(bytes_, strips_);
      at = from_ + (n0_ + j) * k_ * static_cast<int64_t>(sizeof(float)) + strip * share;
      step = CeilDiv(share, micro.depth);
    }
    for (int i = 0; i < kAheads; ++i) micro.ahead[i] = {at + i * micro.part * step, step};
  }

 private:
  const char* from_ = nullptr;
  int64_t bytes_ = 0;  // of a panel
  int64_t k_;
  int64_t n0_;
  int64_t n1_;
  int64_t strips_;
};

// One strip of pixels, packed, times a block of B.
void RunConvStrip(const ConvArgs& args, const BlockOfB& block, const NextBlock& next,
                  const float* strip, int64_t index, int64_t row, int64_t rows) {
  const int64_t k = args.weight.k;
  const bool last = block.k0 + block.depth == k;
  const bool finishes = last && (args.residual != nullptr || args.activation != Activation::kNone);
  MicroArgs micro = {};
  micro.a = strip;
  micro.b_row = kPanel;
  micro.b_panel = k * kPanel;
  micro.c_row = args.y_pixel;
  micro.depth = block.depth;
  micro.accumulate = block.k0 > 0;
  micro.residual_row = args.residual_pixel;
  const int64_t panels = PanelsAtOnce(static_cast<int>(rows));
  for (int64_t n = block.n0; n < block.n1;) {
    micro.b = args.weight.data + n * k + block.k0 * kPanel;
    micro.c = args.y + row * args.y_pixel + n;
    micro.bias = last && args.bias != nullptr ? args.bias + n : nullptr;
    const MicroChoice tile = ChooseMicro(static_cast<int>(rows), block.n1 - n, panels, micro);
    micro.next_c = micro.c + tile.width;
    const float* const residual = args.residual == nullptr || !finishes
                                      ? nullptr
                                      : args.residual + row * args.residual_pixel + n;
    micro.next_residual = residual;
    next.Set(index, n - block.n0, micro);
    tile.run(micro);
    if (finishes) {
      Finish(micro.c, args.y_pixel, residual, args.residual_pixel, rows, tile.width,
             args.activation);
    }
    n += tile.width;
  }
}

}  // namespace

void RunConv(const ConvArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  alignas(64) float strip[kStripRows * kStripStride];
  const int64_t k = args.weight.k;
  // A single pixel has a block of all of k, which a strip does not hold.
  const int64_t block_depth = Min(plan.block_depth, kStripDepth);
  const auto block_at = [&](int64_t n0, int64_t k0) {
    if (n0 >= region.column_end) return BlockOfB{n0, n0, 0, 0};
    return BlockOfB{n0, Min(region.column_end, n0 + plan.block_columns), k0,
                    Min(block_depth, k - k0)};
  };
  const BlockOfB first = block_at(region.column_begin, 0);
  // With several blocks of B, rows whose C stays in L2 from one to the next.
  const bool several = first.depth < k || first.n1 < region.column_end;
  const int64_t rows_each = several ? kChunkRows : region.row_end - region.row_begin;
  for (int64_t begin = region.row_begin; begin < region.row_end; begin += rows_each) {
    const int64_t end = Min(region.row_end, begin + rows_each);
    for (BlockOfB block = first; block.depth > 0;) {
      const BlockOfB then = block.k0 + block.depth < k ? block_at(block.n0, block.k0 + block.depth)
                                                       : block_at(block.n1, 0);
      const BlockOfB& fetched = then.depth == 0 && several && end < region.row_end ? first : then;
      const NextBlock next(args, fetched, CeilDiv(end - begin, kStripRows));
      int64_t index = 0;
      ForStrips(begin, end, [&](int64_t row, int64_t rows) {
        PackWindows(args, row, rows, block.k0, block.depth, strip);
        RunConvStrip(args, block, next, strip, index++, row, rows);
      });
      block = then;
    }
  }
}

// ---- Depthwise ----

namespace {

// Taps of an output pixel.
struct Taps {
  InsideTaps rows;
  InsideTaps columns;
};

// kPixels neighbouring outputs, kVectors vectors of channels each; with kMasked the last vector has
// `columns` channels. `x` is the window's first pixel of the first output, perhaps outside.
template <int kPixels, int kVectors, bool kMasked>
HWY_INLINE void SumWindows(const DepthwiseArgs& args, const Taps& taps, const float* x,
                           const float* weight, const float* bias, float* y, int64_t columns) {
  const F32 d;
  const ImageWindow& w = args.window;
  const auto mask = hn::FirstN(d, static_cast<size_t>(columns));
  const auto load = [&](const float* from, auto v) __attribute__((always_inline)) {
    if constexpr (kMasked && v == kVectors - 1) {
      return hn::MaskedLoad(mask, d, from + v * kLanes);
    } else {
      return hn::LoadU(d, from + v * kLanes);
    }
  };
  VF acc[kPixels][kVectors];
  Unroll<kPixels>([&](auto p) __attribute__((always_inline)) {
    Unroll<kVectors>([&](auto v) __attribute__((always_inline)) { acc[p][v] = hn::Zero(d); });
  });
  const int64_t next = w.stride_columns * args.x_pixel;
  for (int64_t r = taps.rows.low; r < taps.rows.high; ++r) {
    const float* at =
        x +
        (r * w.dilation_rows * w.columns + taps.columns.low * w.dilation_columns) * args.x_pixel;
    const float* tap = weight + (r * w.kernel_columns + taps.columns.low) * args.channels;
    for (int64_t c = taps.columns.low; c < taps.columns.high; ++c) {
      Unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
        const VF factor = load(tap, v);
        Unroll<kPixels>([&](auto p) __attribute__((always_inline)) {
          acc[p][v] = hn::MulAdd(load(at + p * next, v), factor, acc[p][v]);
        });
      });
      at += w.dilation_columns * args.x_pixel;
      tap += args.channels;
    }
  }
  Unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
    const VF add = bias == nullptr ? hn::Zero(d) : load(bias, v);
    Unroll<kPixels>([&](auto p) __attribute__((always_inline)) {
      const VF sum = bias == nullptr ? acc[p][v] : hn::Add(acc[p][v], add);
      if constexpr (kMasked && v == kVectors - 1) {
        hn::BlendedStore(sum, mask, d, y + p * args.y_pixel + v * kLanes);
      } else {
        hn::StoreU(sum, d, y + p * args.y_pixel + v * kLanes);
      }
    });
  });
}

constexpr int kPixelsAtOnce = 4;
constexpr int kVectorsAtOnce = kLanes == 16 ? 4 : 2;

// `count` neighbouring outputs (kPixels at a time is the caller's business) over all channels.
template <int kPixels>
inline void SumChannels(const DepthwiseArgs& args, const Taps& taps, const float* x, float* y) {
  int64_t c = 0;
  const auto bias = [&]() { return args.bias == nullptr ? nullptr : args.bias + c; };
  for (; c + kVectorsAtOnce * kLanes <= args.channels; c += kVectorsAtOnce * kLanes) {
    SumWindows<kPixels, kVectorsAtOnce, false>(args, taps, x + c, args.weight + c, bias(), y + c,
                                               0);
  }
  for (; c < args.channels; c += kLanes) {
    const int64_t columns = Min(kLanes, args.channels - c);
    SumWindows<kPixels, 1, true>(args, taps, x + c, args.weight + c, bias(), y + c, columns);
  }
}

}  // namespace

void RunDepthwise(const DepthwiseArgs& args, int64_t begin, int64_t end) {
  const ImageWindow& w = args.window;
  // Outputs [inner_begin, inner_end) of a row have all columns of their windows inside.
  const int64_t reach = (w.kernel_columns - 1) * w.dilation_columns;
  const int64_t inner_begin = Min(w.out_columns, Max(0, CeilDiv(w.pad_left, w.stride_columns)));
  const int64_t inner_end = Max(
      inner_begin, Min(w.out_columns, CeilDiv(w.columns - reach + w.pad_left, w.stride_columns)));
  for (int64_t row = begin; row < end; ++row) {
    const int64_t image = row / w.out_rows;
    const int64_t line = row % w.out_rows * w.stride_rows - w.pad_top;
    const float* const x = args.x + (image * w.rows + line) * w.columns * args.x_pixel;
    float* const y = args.y + row * w.out_columns * args.y_pixel;
    Taps taps;
    taps.rows = TapsInside(line, w.dilation_rows, w.kernel_rows, w.rows);
    const auto one = [&](int64_t j) {
      const int64_t column = j * w.stride_columns - w.pad_left;
      taps.columns = TapsInside(column, w.dilation_columns, w.kernel_columns, w.columns);
      SumChannels<1>(args, taps, x + column * args.x_pixel, y + j * args.y_pixel);
    };
    int64_t j = 0;
    for (; j < inner_begin; ++j) one(j);
    taps.columns = {0, w.kernel_columns};
    for (; j + kPixelsAtOnce <= inner_end; j += kPixelsAtOnce) {
      const int64_t column = j * w.stride_columns - w.pad_left;
      SumChannels<kPixelsAtOnce>(args, taps, x + column * args.x_pixel, y + j * args.y_pixel);
    }
    for (; j < w.out_columns; ++j) one(j);
    if (args.activation == Activation::kNone) continue;
    if (args.y_pixel == args.channels) {
      ActivateRow(y, w.out_columns * args.channels, args.activation);
      continue;
    }
    for (j = 0; j < w.out_columns; ++j)
      ActivateRow(y + j * args.y_pixel, args.channels, args.activation);
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

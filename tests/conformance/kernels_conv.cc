// Convolutions and pools against kernels/ref, on the active target.
#include <array>
#include <limits>
#include <utility>

#include "conformance/huge_floats.h"
#include "conformance/invariance.h"
#include "conformance/kernel_table.h"
#include "kernels/conv.h"
#include "kernels/packing.h"
#include "kernels/pool.h"
#include "kernels/ref/gemm.h"
#include "kernels/ref/window.h"

namespace sluice::conformance {
namespace {

using namespace kernels;
using tensor::Shape;

struct Case {
  const char* name;
  ImageWindow window;
  int64_t channels;
  int64_t outputs;
};

// Output extents follow from the others and from pads that are alike on both sides.
ImageWindow Window(int64_t batch, int64_t rows, int64_t columns, int64_t kernel_rows,
                   int64_t kernel_columns, int64_t stride, int64_t dilation, int64_t pad) {
  ImageWindow w;
  w.batch = batch;
  w.rows = rows;
  w.columns = columns;
  w.kernel_rows = kernel_rows;
  w.kernel_columns = kernel_columns;
  w.stride_columns = stride;
  w.dilation_columns = dilation;
  w.pad_left = pad;
  w.out_columns = (columns + 2 * pad - (kernel_columns - 1) * dilation - 1) / stride + 1;
  if (rows > 1) {
    w.stride_rows = stride;
    w.dilation_rows = dilation;
    w.pad_top = pad;
    w.out_rows = (rows + 2 * pad - (kernel_rows - 1) * dilation - 1) / stride + 1;
  }
  return w;
}

const Case kCases[] = {
    {"one pixel", Window(1, 1, 1, 1, 1, 1, 1, 0), 3, 5},
    {"first layer 7x7/2", Window(1, 23, 25, 7, 7, 2, 1, 3), 3, 33},
    {"3x3", Window(2, 9, 11, 3, 3, 1, 1, 1), 20, 40},
    {"3x3 deep", Window(1, 7, 7, 3, 3, 1, 1, 1), 130, 64},
    {"3x3/2", Window(1, 14, 13, 3, 3, 2, 1, 1), 17, 16},
    {"1x1/2", Window(3, 8, 6, 1, 1, 2, 1, 0), 64, 96},
    {"dilated", Window(1, 13, 12, 3, 3, 1, 3, 3), 8, 12},
    {"window over all", Window(2, 5, 5, 5, 5, 1, 1, 0), 200, 10},
    {"padding beyond the window", Window(1, 3, 4, 2, 2, 1, 1, 3), 5, 9},
    {"one axis", Window(3, 1, 31, 1, 5, 1, 1, 2), 24, 48},
    {"one axis, causal dilation", Window(1, 1, 40, 1, 3, 1, 8, 8), 16, 16},
};

// Channels last to channels first.
std::vector<float> ToPlanes(std::span<const float> x, int64_t batch, int64_t pixels,
                            int64_t channels, int64_t pixel) {
  std::vector<float> y(static_cast<size_t>(batch * pixels * channels));
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = 0; p < pixels; ++p) {
        y[static_cast<size_t>((b * channels + c) * pixels + p)] =
            x[static_cast<size_t>((b * pixels + p) * pixel + c)];
      }
    }
  }
  return y;
}

ref::Window RefWindow(const ImageWindow& w) {
  ref::Window window;
  const auto set = [](int64_t* to, int64_t rows, int64_t columns) {
    to[0] = rows;
    to[1] = columns;
  };
  set(window.kernel, w.kernel_rows, w.kernel_columns);
  set(window.stride, w.stride_rows, w.stride_columns);
  set(window.dilation, w.dilation_rows, w.dilation_columns);
  set(window.pad, w.pad_top, w.pad_left);
  return window;
}

constexpr tensor::DType kF32 = tensor::DType::kF32;

// The convolution by kernels/ref, channels last: weight [taps, channels / groups, outputs].
std::vector<float> RefConv(const Case& c, std::span<const float> x, int64_t x_pixel,
                           std::span<const float> weight, std::span<const float> bias,
                           std::span<const float> residual, int64_t groups, Activation activation) {
  const ImageWindow& w = c.window;
  const int64_t in = w.rows * w.columns, out = w.out_rows * w.out_columns, taps = w.taps();
  const int64_t group_in = c.channels / groups;
  const std::vector<float> planes = ToPlanes(x, w.batch, in, c.channels, x_pixel);
  std::vector<float> swapped(weight.size());
  for (int64_t t = 0; t < taps; ++t) {
    for (int64_t i = 0; i < group_in; ++i) {
      for (int64_t o = 0; o < c.outputs; ++o) {
        swapped[static_cast<size_t>((o * group_in + i) * taps + t)] =
            weight[static_cast<size_t>((t * group_in + i) * c.outputs + o)];
      }
    }
  }
  std::vector<float> y(static_cast<size_t>(w.batch * c.outputs * out));
  ref::ConvArgs args;
  args.x = {kF32, Shape({w.batch, c.channels, w.rows, w.columns}), planes.data()};
  args.weight = {kF32, Shape({c.outputs, group_in, w.kernel_rows, w.kernel_columns}),
                 swapped.data()};
  if (!bias.empty()) args.bias = {kF32, Shape({c.outputs}), bias.data()};
  args.y = {kF32, Shape({w.batch, c.outputs, w.out_rows, w.out_columns}), y.data()};
  args.window = RefWindow(w);
  args.groups = groups;
  ref::Conv(args);
  std::vector<float> last(y.size());
  for (int64_t b = 0; b < w.batch; ++b) {
    for (int64_t o = 0; o < c.outputs; ++o) {
      for (int64_t p = 0; p < out; ++p) {
        const auto at = static_cast<size_t>((b * out + p) * c.outputs + o);
        double v = y[static_cast<size_t>((b * c.outputs + o) * out + p)];
        if (!residual.empty()) v += residual[at];
        last[at] = static_cast<float>(ref::Activate(v, activation));
      }
    }
  }
  return last;
}

struct Packed {
  HugeFloats memory;
  PackedMatrix matrix;
  Packed(const std::vector<float>& weight, int64_t k, int64_t n)
      : memory(PackedMatrixBytes(k, n, ActiveTarget()) / 4),
        matrix(PackMatrix({weight.data(), kF32, k, n, n, 1}, ActiveTarget(), memory.data())) {}
};

void CheckConv(Report& report) {
  for (const Case& c : kCases) {
    const ImageWindow& w = c.window;
    const int64_t k = w.taps() * c.channels;
    const std::vector<float> weight = RandomFloats(k * c.outputs, 61);
    const Packed packed(weight, k, c.outputs);
    const std::vector<float> bias = RandomFloats(c.outputs, 62);
    const std::vector<float> residual = RandomFloats(w.pixels() * c.outputs, 63);
    for (int variant = 0; variant < 4; ++variant) {
      const int64_t x_pixel = c.channels + (variant == 1 ? 3 : 0);
      const std::vector<float> x = RandomFloats(w.batch * w.rows * w.columns * x_pixel, 64);
      Guarded got(w.pixels() * c.outputs), piecewise(w.pixels() * c.outputs);
      ConvArgs args;
      args.window = w;
      args.channels = c.channels;
      args.x = x.data();
      args.x_pixel = x_pixel;
      args.weight = packed.matrix;
      if (variant >= 1) args.bias = bias.data();
      if (variant >= 2) args.residual = residual.data();
      args.residual_pixel = c.outputs;
      args.y_pixel = c.outputs;
      if (variant >= 2) args.activation = variant == 2 ? Activation::kRelu : Activation::kHardSwish;
      args.y = got.data();
      RunWhole(ConvTiles, Conv, args);
      args.y = piecewise.data();
      RunBackwards(ConvTiles, Conv, args);
      const std::vector<float> want = RefConv(
          c, x, x_pixel, weight, variant >= 1 ? std::span<const float>(bias) : std::span<float>(),
          variant >= 2 ? std::span<const float>(residual) : std::span<float>(), 1, args.activation);
      const std::string name = std::string(c.name) + " variant " + std::to_string(variant);
      report.Compare(name, got.values(), want, static_cast<double>(k));
      report.SameBits(name + " in tiles", piecewise.values(), got.values());
      report.Expect(name + " stays inside", got.intact());
    }
  }
}

// The same image gives the same bits alone and in a batch.
void CheckConvCompany(Report& report) {
  const Case c{"", Window(7, 6, 5, 3, 3, 1, 1, 1), 96, 48};
  const int64_t k = c.window.taps() * c.channels;
  const std::vector<float> weight = RandomFloats(k * c.outputs, 65);
  const Packed packed(weight, k, c.outputs);
  const int64_t in = c.window.rows * c.window.columns * c.channels;
  const int64_t out = c.window.out_rows * c.window.out_columns * c.outputs;
  const std::vector<float> x = RandomFloats(7 * in, 66);
  std::vector<float> together(static_cast<size_t>(7 * out)), alone(static_cast<size_t>(out));
  ConvArgs args;
  args.window = c.window;
  args.channels = args.x_pixel = c.channels;
  args.weight = packed.matrix;
  args.y_pixel = c.outputs;
  args.x = x.data();
  args.y = together.data();
  RunWhole(ConvTiles, Conv, args);
  args.window.batch = 1;
  for (int64_t b = 0; b < 7; ++b) {
    args.x = x.data() + b * in;
    args.y = alone.data();
    RunWhole(ConvTiles, Conv, args);
    report.SameBits(
        "image " + std::to_string(b) + " alone", alone,
        std::span(together).subspan(static_cast<size_t>(b * out), static_cast<size_t>(out)));
  }
}

void CheckAllConv(Report& report) {
  CheckConv(report);
  CheckConvCompany(report);
}

void CheckDepthwise(Report& report) {
  for (const Case& from : kCases) {
    for (const int64_t channels : {1, 16, 33, 72, 130}) {
      Case c = from;
      c.channels = c.outputs = channels;
      const ImageWindow& w = c.window;
      const std::vector<float> weight = RandomFloats(w.taps() * channels, 67);
      const std::vector<float> bias = RandomFloats(channels, 68);
      const int64_t x_pixel = channels + (channels == 33 ? 2 : 0);
      const std::vector<float> x = RandomFloats(w.batch * w.rows * w.columns * x_pixel, 69);
      Guarded got(w.pixels() * channels), piecewise(w.pixels() * channels);
      DepthwiseArgs args;
      args.window = w;
      args.channels = args.y_pixel = channels;
      args.x = x.data();
      args.x_pixel = x_pixel;
      args.weight = weight.data();
      if (channels != 16) args.bias = bias.data();
      args.activation = channels == 72 ? Activation::kRelu6 : Activation::kNone;
      args.y = got.data();
      RunWhole(DepthwiseTiles, Depthwise, args);
      args.y = piecewise.data();
      RunBackwards(DepthwiseTiles, Depthwise, args);
      // [taps, 1, channels] is what the reference takes with as many groups.
      const std::vector<float> want =
          RefConv(c, x, x_pixel, weight,
                  args.bias != nullptr ? std::span<const float>(bias) : std::span<float>(), {},
                  channels, args.activation);
      const std::string name = std::string(c.name) + " of " + std::to_string(channels);
      report.Compare(name, got.values(), want, static_cast<double>(w.taps()));
      report.SameBits(name + " in tiles", piecewise.values(), got.values());
      report.Expect(name + " stays inside", got.intact());
    }
  }
}

template <ImagePool kOp>
void CheckPool(Report& report) {
  for (const Case& c : kCases) {
    const ImageWindow& w = c.window;
    const int64_t in = w.rows * w.columns;
    std::vector<float> x = RandomFloats(w.batch * in * c.channels, 71);
    if (kOp == ImagePool::kMax) x[x.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    for (const bool count_padding : {false, true}) {
      PoolArgs args;
      args.op = kOp;
      args.window = w;
      args.count_padding = count_padding;
      args.pad_bottom = w.pad_top;
      args.pad_right = w.pad_left;
      args.channels = args.x_pixel = args.y_pixel = c.channels;
      args.x = x.data();
      Guarded got(w.pixels() * c.channels);
      args.y = got.data();
      RunBackwards(PoolTiles, Pool, args);
      const std::vector<float> planes = ToPlanes(x, w.batch, in, c.channels, c.channels);
      std::vector<float> y(got.values().size());
      ref::PoolArgs want;
      want.op = kOp == ImagePool::kMax ? ref::PoolOp::kMax : ref::PoolOp::kAverage;
      want.x = {kF32, Shape({w.batch, c.channels, w.rows, w.columns}), planes.data()};
      want.y = {kF32, Shape({w.batch, c.channels, w.out_rows, w.out_columns}), y.data()};
      want.window = RefWindow(w);
      want.pad_end[0] = w.pad_top;
      want.pad_end[1] = w.pad_left;
      want.include_pad = count_padding;
      ref::Pool(want);
      const std::vector<float> got_planes =
          ToPlanes(got.values(), w.batch, w.out_rows * w.out_columns, c.channels, c.channels);
      report.Compare(c.name, got_planes, y, static_cast<double>(w.taps()));
      report.Expect(std::string(c.name) + " stays inside", got.intact());
    }
  }
}

void MeasureConv(Perf& perf) {
  const std::pair<const char*, Case> cases[] = {
      {"7x7/2 3->64 at 224", {"", Window(1, 224, 224, 7, 7, 2, 1, 3), 3, 64}},
      {"3x3 64->64 at 56", {"", Window(1, 56, 56, 3, 3, 1, 1, 1), 64, 64}},
      {"3x3 128->128 at 28", {"", Window(1, 28, 28, 3, 3, 1, 1, 1), 128, 128}},
      {"3x3 256->256 at 14", {"", Window(1, 14, 14, 3, 3, 1, 1, 1), 256, 256}},
      {"3x3 512->512 at 7", {"", Window(1, 7, 7, 3, 3, 1, 1, 1), 512, 512}},
  };
  for (const auto& [name, c] : cases) {
    const ImageWindow& w = c.window;
    const int64_t k = w.taps() * c.channels;
    const std::vector<float> weight = RandomFloats(k * c.outputs, 72);
    const Packed packed(weight, k, c.outputs);
    const std::vector<float> x = RandomFloats(w.batch * w.rows * w.columns * c.channels, 73);
    std::vector<float> y(static_cast<size_t>(w.pixels() * c.outputs));
    ConvArgs args;
    args.window = w;
    args.channels = args.x_pixel = c.channels;
    args.x = x.data();
    args.weight = packed.matrix;
    args.y = y.data();
    args.y_pixel = c.outputs;
    args.activation = Activation::kRelu;
    perf.Measure(name, ConvWork(args), {}, [&args] { RunWhole(ConvTiles, Conv, args); });
  }
}

void MeasureDepthwise(Perf& perf) {
  const std::pair<const char*, Case> cases[] = {
      {"3x3 96/2 at 112", {"", Window(1, 112, 112, 3, 3, 2, 1, 1), 96, 96}},
      {"3x3 144 at 56", {"", Window(1, 56, 56, 3, 3, 1, 1, 1), 144, 144}},
      {"3x3 384 at 14", {"", Window(1, 14, 14, 3, 3, 1, 1, 1), 384, 384}},
      {"5x5 240 at 14", {"", Window(1, 14, 14, 5, 5, 1, 1, 2), 240, 240}},
  };
  for (const auto& [name, c] : cases) {
    const ImageWindow& w = c.window;
    const std::vector<float> weight = RandomFloats(w.taps() * c.channels, 74);
    const std::vector<float> x = RandomFloats(w.batch * w.rows * w.columns * c.channels, 75);
    std::vector<float> y(static_cast<size_t>(w.pixels() * c.channels));
    DepthwiseArgs args;
    args.window = w;
    args.channels = args.x_pixel = args.y_pixel = c.channels;
    args.x = x.data();
    args.weight = weight.data();
    args.y = y.data();
    args.activation = Activation::kRelu6;
    perf.Measure(name, DepthwiseWork(args), {},
                 [&args] { RunWhole(DepthwiseTiles, Depthwise, args); });
  }
}

}  // namespace

std::span<const Kernel> ConvKernels() {
  static constexpr std::array kKernels = {
      Kernel{"conv", CheckAllConv, MeasureConv},
      Kernel{"depthwise", CheckDepthwise, MeasureDepthwise},
      Kernel{"max_pool", CheckPool<ImagePool::kMax>, nullptr},
      Kernel{"mean_pool", CheckPool<ImagePool::kMean>, nullptr},
  };
  return kKernels;
}

}  // namespace sluice::conformance

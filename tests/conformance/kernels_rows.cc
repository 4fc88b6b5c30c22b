// Norms, softmax and reductions against their references, on the active target.
#include <array>
#include <cmath>
#include <limits>

#include "conformance/invariance.h"
#include "conformance/kernel_table.h"
#include "kernels/gated_rows.h"
#include "kernels/ref/rows.h"
#include "kernels/rotary.h"

namespace sluice::conformance {
namespace {

using namespace kernels;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr std::array<int64_t, 16> kColumns = {1,  2,  3,  7,  8,   9,   15,  16,
                                              17, 33, 63, 64, 100, 128, 384, 1025};

void CheckRowNorm(Report& report) {
  constexpr int64_t kRows = 5;
  for (int64_t n : kColumns) {
    for (int variant = 0; variant < 8; ++variant) {
      const int64_t stride = n + variant % 3;
      const std::vector<float> x = RandomFloats(kRows * stride, 21),
                               residual = RandomFloats(kRows * stride, 22);
      const std::vector<float> scale = RandomFloats(n, 23), bias = RandomFloats(n, 24);
      Guarded got(kRows * stride), want(kRows * stride), got_sum(kRows * stride),
          want_sum(kRows * stride);
      RowNormArgs args;
      args.rows = kRows;
      args.columns = n;
      args.x = x.data();
      args.residual = (variant & 1) != 0 ? residual.data() : nullptr;
      args.scale = (variant & 2) != 0 ? scale.data() : nullptr;
      args.bias = (variant & 6) != 0 ? bias.data() : nullptr;
      args.x_stride = args.residual_stride = args.y_stride = args.sum_stride = stride;
      args.rms = (variant & 4) != 0;
      args.y = got.data();
      args.sum = variant % 3 == 0 ? got_sum.data() : nullptr;
      RunWhole(RowNormTiles, RowNorm, args);
      args.y = want.data();
      args.sum = variant % 3 == 0 ? want_sum.data() : nullptr;
      ref::RowNorm(args);
      const std::string name = std::to_string(n) + " variant " + std::to_string(variant);
      // A row of one element has no variance: what is left of rounding is blown up by 1 /
      // sqrt(epsilon).
      report.Compare(name, got.values(), want.values());
      report.SameBits(name + " sum", got_sum.values(), want_sum.values());
      report.Expect(name + " stays inside", got.intact() && got_sum.intact());
    }
  }
  // The same bits alone, in a batch, tile by tile, in place.
  constexpr int64_t kMany = 300, kWide = 384;
  const std::vector<float> x = RandomFloats(kMany * kWide, 25, -3, 3);
  std::vector<float> whole(x.size()), pieces(x.size()), alone(kWide), in_place = x;
  RowNormArgs args;
  args.rows = kMany;
  args.columns = args.x_stride = args.y_stride = kWide;
  args.x = x.data();
  args.y = whole.data();
  RunWhole(RowNormTiles, RowNorm, args);
  args.y = pieces.data();
  RunBackwards(RowNormTiles, RowNorm, args);
  report.SameBits("tile by tile", pieces, whole);
  args.x = args.y = in_place.data();
  RunWhole(RowNormTiles, RowNorm, args);
  report.SameBits("in place", in_place, whole);
  args.rows = 1;
  args.x = x.data() + 77 * kWide;
  args.y = alone.data();
  RunWhole(RowNormTiles, RowNorm, args);
  report.SameBits("alone", alone, std::span(whole).subspan(77 * kWide, kWide));
}

void CheckRowL2Norm(Report& report) {
  for (int64_t n : kColumns) {
    std::vector<float> x = RandomFloats(3 * n, 26, -5, 5);
    std::fill(x.begin(), x.begin() + n, 0.0f);
    Guarded got(3 * n), want(3 * n);
    RowL2NormArgs args{3, n, x.data(), got.data()};
    RunWhole(RowL2NormTiles, RowL2Norm, args);
    args.y = want.data();
    ref::RowL2Norm(args);
    report.Compare(std::to_string(n), got.values(), want.values());
    report.Expect("stays inside", got.intact());
  }
}

void CheckSoftmaxOf(Report& report, bool log) {
  for (int64_t n : kColumns) {
    for (int variant = 0; variant < 4; ++variant) {
      RowSoftmaxArgs args;
      args.outer = 2, args.middle = 3, args.inner = 2, args.columns = n;
      args.scale = variant == 1 ? 0.125f : 1.0f;
      args.log = log;
      const std::vector<float> x = RandomFloats(12 * n, 27, -20, 20);
      std::vector<float> mask(static_cast<size_t>(12 * n), 0.0f);
      for (size_t i = 0; i < mask.size(); ++i) {
        if (i % 3 == 1 && n > 1)
          mask[i] = variant == 3 ? -std::numeric_limits<float>::max() : -kInf;
        if (i % 5 == 0) mask[i] = -2.5f;
      }
      if (variant >= 2) args.mask = mask.data();
      args.mask_outer = n;
      args.mask_inner = variant == 3 ? 2 * n : 0;
      Guarded got(12 * n), want(12 * n);
      args.x = x.data();
      args.y = got.data();
      RunWhole(RowSoftmaxTiles, RowSoftmax, args);
      args.y = want.data();
      ref::RowSoftmax(args);
      report.Compare(std::to_string(n) + " variant " + std::to_string(variant), got.values(),
                     want.values(), log ? 8.0 : 1.0);
      report.Expect("stays inside", got.intact());
    }
  }
  constexpr int64_t kRows = 700, kWide = 100;
  const std::vector<float> x = RandomFloats(kRows * kWide, 28, -4, 4);
  std::vector<float> whole(x.size()), pieces(x.size()), alone(kWide);
  RowSoftmaxArgs args;
  args.inner = kRows, args.columns = kWide, args.log = log;
  args.x = x.data();
  args.y = whole.data();
  RunWhole(RowSoftmaxTiles, RowSoftmax, args);
  args.y = pieces.data();
  RunBackwards(RowSoftmaxTiles, RowSoftmax, args);
  report.SameBits("tile by tile", pieces, whole);
  args.inner = 1;
  args.x = x.data() + 333 * kWide;
  args.y = alone.data();
  RunWhole(RowSoftmaxTiles, RowSoftmax, args);
  report.SameBits("alone", alone, std::span(whole).subspan(333 * kWide, kWide));
  // All excluded: NaN, as the formula says; a NaN score spoils its own row only.
  std::vector<float> bad = {-kInf, -kInf, -kInf, 1, NAN, 2, 1, 2, 3}, y(9), want(9);
  RowSoftmaxArgs odd;
  odd.inner = 3, odd.columns = 3, odd.log = log;
  odd.x = bad.data();
  odd.y = y.data();
  RunWhole(RowSoftmaxTiles, RowSoftmax, odd);
  odd.y = want.data();
  ref::RowSoftmax(odd);
  report.Compare("NaN and -inf", y, want);
}

void CheckRowSoftmax(Report& report) {
  CheckSoftmaxOf(report, false);
}
void CheckRowLogSoftmax(Report& report) {
  CheckSoftmaxOf(report, true);
}

void CheckRowReduce(Report& report) {
  for (int op = 0; op < 6; ++op) {
    for (int64_t extent : {0, 1, 2, 7, 16, 65, 130, 1000}) {
      for (int64_t inner : {1, 2, 5, 16, 33, 70, 600}) {
        RowReduceArgs args;
        args.op = static_cast<RowReduceOp>(op);
        args.outer = 3, args.extent = extent, args.inner = inner;
        std::vector<float> x = RandomFloats(3 * extent * inner, 29);
        const std::string name = "op " + std::to_string(op) + " " + std::to_string(extent) + " x " +
                                 std::to_string(inner);
        if (op == 2 || op == 3) {
          if (x.size() > 40) x[x.size() / 2] = NAN;
          if (x.size() > 40) x[3] = kInf;
        }
        Guarded got(3 * inner), want(3 * inner);
        args.x = x.data();
        args.y = got.data();
        RunWhole(RowReduceTiles, RowReduce, args);
        args.y = want.data();
        ref::RowReduce(args);
        report.Compare(name, got.values(), want.values(), std::sqrt(static_cast<double>(extent)));
        report.Expect(name + " stays inside", got.intact());
        RunBackwards(RowReduceTiles, RowReduce, args);
        report.SameBits(name + " tile by tile", want.values(), got.values());
      }
    }
  }
}

void CheckMaskedMean(Report& report) {
  for (int64_t columns : {1, 8, 17, 64, 100, 384, 1030}) {
    constexpr int64_t kBatch = 3, kLength = 40;
    std::vector<float> x = RandomFloats(kBatch * kLength * columns, 30),
                       mask(kBatch * kLength, 0.0f);
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t s = 0; s < b * 17; ++s)
        mask[static_cast<size_t>(b * kLength + s)] = s % 5 == 4 ? 0.5f : 1.0f;
    }
    x[0] = NAN;  // masked out
    Guarded got(kBatch * columns), want(kBatch * columns);
    MaskedMeanArgs args{kBatch, kLength, columns, x.data(), mask.data(), got.data()};
    RunWhole(MaskedMeanTiles, MaskedMean, args);
    args.y = want.data();
    ref::MaskedMean(args);
    report.Compare(std::to_string(columns), got.values(), want.values());
    report.Expect("stays inside", got.intact());
    // Padding changes no bit.
    std::vector<float> alone(static_cast<size_t>(columns));
    MaskedMeanArgs shorter{
        1, 17, columns, x.data() + kLength * columns, mask.data() + kLength, alone.data()};
    RunBackwards(MaskedMeanTiles, MaskedMean, shorter);
    report.SameBits(
        "without padding", alone,
        got.values().subspan(static_cast<size_t>(columns), static_cast<size_t>(columns)));
  }
}

constexpr int64_t kPerfRows = 2048, kPerfColumns = 384;

void MeasureRowNorm(Perf& perf) {
  const std::vector<float> x = RandomFloats(kPerfRows * kPerfColumns, 31),
                           scale = RandomFloats(kPerfColumns, 32);
  std::vector<float> y(x.size());
  RowNormArgs args;
  args.columns = args.x_stride = args.residual_stride = args.y_stride = kPerfColumns;
  const std::vector<float> residual = RandomFloats(kPerfRows * kPerfColumns, 36);
  args.x = x.data();
  args.residual = residual.data();
  args.scale = args.bias = scale.data();
  args.y = y.data();
  for (int64_t rows : {int64_t{128}, kPerfRows}) {
    args.rows = rows;
    const Work work = RowNormWork(args);
    perf.Measure("residual + LayerNorm " + std::to_string(rows) + "x384", work,
                 {Roof::Kind::kRead, work.bytes}, [&] { RunWhole(RowNormTiles, RowNorm, args); });
  }
}

void MeasureRowSoftmax(Perf& perf) {
  for (int64_t n : {32, 128, 512}) {
    const int64_t rows = 12 * 128;
    const std::vector<float> x = RandomFloats(rows * n, 33), mask(static_cast<size_t>(n), 0.0f);
    std::vector<float> y(x.size());
    RowSoftmaxArgs args;
    args.inner = rows, args.columns = n, args.scale = 0.125f;
    args.x = x.data();
    args.mask = mask.data();
    args.y = y.data();
    const Work work = RowSoftmaxWork(args);
    perf.Measure(std::to_string(rows) + "x" + std::to_string(n), work,
                 {Roof::Kind::kRead, work.bytes},
                 [&] { RunWhole(RowSoftmaxTiles, RowSoftmax, args); });
  }
}

void MeasureRowReduce(Perf& perf) {
  const std::vector<float> x = RandomFloats(kPerfRows * kPerfColumns, 34);
  std::vector<float> y(x.size());
  for (const bool last : {true, false}) {
    RowReduceArgs args;
    args.op = RowReduceOp::kMean;
    args.outer = last ? kPerfRows : kPerfRows / 128;
    args.extent = last ? kPerfColumns : 128;
    args.inner = last ? 1 : kPerfColumns;
    args.x = x.data();
    args.y = y.data();
    const Work work = RowReduceWork(args);
    perf.Measure(last ? "mean of 2048x384 along 1" : "mean of 16x128x384 along 1", work,
                 {Roof::Kind::kRead, work.bytes},
                 [&] { RunWhole(RowReduceTiles, RowReduce, args); });
  }
}

void MeasureMaskedMean(Perf& perf) {
  const std::vector<float> x = RandomFloats(kPerfRows * kPerfColumns, 35), mask(kPerfRows, 1.0f);
  std::vector<float> y(static_cast<size_t>(16 * kPerfColumns));
  MaskedMeanArgs args{16, 128, kPerfColumns, x.data(), mask.data(), y.data()};
  const Work work = MaskedMeanWork(args);
  perf.Measure("16x128x384", work, {Roof::Kind::kRead, work.bytes},
               [&] { RunWhole(MaskedMeanTiles, MaskedMean, args); });
}

// Rows of `heads` heads side by side, [length, heads, width], turned as [heads, length, width].
struct RotaryCase {
  int64_t heads, length, width, turned;
  bool interleaved, by_pair;
};

RotaryArgs RotaryOf(const RotaryCase& c, const float* x, const float* cos, const float* sin,
                    float* y) {
  const int64_t columns = c.by_pair ? c.turned / 2 : c.turned;
  RotaryArgs args;
  args.extents[1] = c.heads;
  args.extents[2] = c.length;
  args.width = c.width;
  args.turned = c.turned;
  args.interleaved = c.interleaved;
  args.by_pair = c.by_pair;
  args.x = {x, {0, c.width, c.heads * c.width}};
  args.cos = {cos, {0, 0, columns}};
  args.sin = {sin, {0, 0, columns}};
  args.y = y;
  args.y_strides[1] = c.length * c.width;
  args.y_strides[2] = c.width;
  return args;
}

void CheckRotary(Report& report) {
  for (const int64_t turned : {2, 6, 8, 16, 30, 32, 34, 64, 128}) {
    for (int variant = 0; variant < 8; ++variant) {
      const RotaryCase c = {
          3, 50, turned + (variant & 1) * 5, turned, (variant & 2) != 0, (variant & 4) != 0};
      const std::vector<float> x = RandomFloats(c.heads * c.length * c.width, 61);
      const std::vector<float> cos = RandomFloats(c.length * turned, 62);
      const std::vector<float> sin = RandomFloats(c.length * turned, 63);
      Guarded got(static_cast<int64_t>(x.size()));
      const RotaryArgs args = RotaryOf(c, x.data(), cos.data(), sin.data(), got.data());
      RunWhole(RotaryTiles, Rotary, args);
      std::vector<float> want(x.size());
      for (int64_t h = 0; h < c.heads; ++h) {
        for (int64_t s = 0; s < c.length; ++s) {
          const float* const in = args.x.data + h * args.x.strides[1] + s * args.x.strides[2];
          float* const out = want.data() + (h * c.length + s) * c.width;
          std::copy(in, in + c.width, out);
          for (int64_t p = 0; p < turned / 2; ++p) {
            const int64_t a = c.interleaved ? 2 * p : p;
            const int64_t b = c.interleaved ? 2 * p + 1 : p + turned / 2;
            const auto angle = [&](const std::vector<float>& table, int64_t i) -> double {
              return c.by_pair ? table[static_cast<size_t>(s * turned / 2 + p)]
                               : table[static_cast<size_t>(s * turned + i)];
            };
            out[a] = static_cast<float>(in[a] * angle(cos, a) - in[b] * angle(sin, a));
            out[b] = static_cast<float>(in[b] * angle(cos, b) + in[a] * angle(sin, b));
          }
        }
      }
      const std::string name = std::to_string(turned) + " of " + std::to_string(c.width) +
                               " variant " + std::to_string(variant);
      report.Compare(name, got.values(), want);
      report.Expect(name + " stays inside", got.intact());
      std::vector<float> pieces(x.size());
      RotaryArgs tiled = args;
      tiled.y = pieces.data();
      for (int64_t t = RotaryTiles(args); t-- > 0;) Rotary(tiled, {t, t + 1});
      report.SameBits(name + " tile by tile", pieces, got.values());
    }
  }
}

void MeasureRotary(Perf& perf) {
  const RotaryCase c = {12, 512, 64, 64, false, false};
  const std::vector<float> x = RandomFloats(c.heads * c.length * c.width, 61),
                           table = RandomFloats(c.length * c.turned, 62);
  std::vector<float> y(x.size());
  const RotaryArgs args = RotaryOf(c, x.data(), table.data(), table.data(), y.data());
  perf.Measure("12x512x64, halves", RotaryWork(args),
               {.kind = Roof::Kind::kRead, .bytes = static_cast<int64_t>(x.size()) * 8}, [&] {
                 Rotary(args, {0, RotaryTiles(args)});
               });
}

void CheckGatedRows(Report& report) {
  for (const int64_t n : {1, 7, 16, 64, 172, 4864}) {
    for (const Activation activation :
         {Activation::kSilu, Activation::kGeluTanh, Activation::kGeluErf}) {
      constexpr int64_t kRows = 3;
      const std::vector<float> x = RandomFloats(kRows * (2 * n + 3), 71, -6, 6);
      Guarded got(kRows * (n + 1)), want(kRows * (n + 1));
      GatedRowsArgs args{kRows, n, x.data(), 2 * n + 3, got.data(), n + 1, activation};
      RunBackwards(GatedRowsTiles, GatedRows, args);
      args.y = want.data();
      ref::GatedRows(args);
      const std::string name = std::to_string(n) + " " + ActivationName(activation);
      report.Compare(name, got.values(), want.values(), 6);
      report.Expect(name + " stays inside", got.intact());
    }
  }
}

}  // namespace

std::span<const Kernel> RowKernels() {
  static constexpr std::array kKernels = {
      Kernel{"rotary", CheckRotary, MeasureRotary},
      Kernel{"gated_rows", CheckGatedRows, nullptr},
      Kernel{"row_norm", CheckRowNorm, MeasureRowNorm},
      Kernel{"row_l2_norm", CheckRowL2Norm, nullptr},
      Kernel{"row_softmax", CheckRowSoftmax, MeasureRowSoftmax},
      Kernel{"row_log_softmax", CheckRowLogSoftmax, nullptr},
      Kernel{"row_reduce", CheckRowReduce, MeasureRowReduce},
      Kernel{"masked_mean", CheckMaskedMean, MeasureMaskedMean},
  };
  return kKernels;
}

}  // namespace sluice::conformance

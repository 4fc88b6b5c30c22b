// Resize: every output is a weighted sum over a few inputs per axis. Coordinates, taps and weights
// follow ONNX's reference: neighbours are repeated at the edges unless excluded, and an antialiased
// kernel is stretched by 1 / scale.
#include <algorithm>
#include <cmath>

#include "kernels/ref/lanes.h"
#include "kernels/ref/walk.h"
#include "kernels/ref/window.h"

namespace sluice::kernels::ref {
namespace {

double Coordinate(const ResizeArgs& args, int axis, int64_t i) {
  const double in = static_cast<double>(args.x.shape[axis]);
  const double out = static_cast<double>(args.y.shape[axis]);
  const double scale = args.scale[axis];
  const double stated = scale * in;  // what the model asked for before it was rounded to an extent
  const double x = static_cast<double>(i);
  switch (args.coordinate) {
    case ResizeCoordinate::kHalfPixel:
      return (x + 0.5) / scale - 0.5;
    case ResizeCoordinate::kHalfPixelSymmetric:
      return in / 2 * (1 - out / stated) + (x + 0.5) / scale - 0.5;
    case ResizeCoordinate::kPytorchHalfPixel:
      return stated > 1 ? (x + 0.5) / scale - 0.5 : -0.5;
    case ResizeCoordinate::kAlignCorners:
      return stated == 1 ? 0 : x * (in - 1) / (stated - 1);
    case ResizeCoordinate::kAsymmetric:
      return x / scale;
    case ResizeCoordinate::kTfCropAndResize: {
      const double begin = args.roi_begin[axis];
      const double end = args.roi_end[axis];
      if (out == 1) return 0.5 * (begin + end) * (in - 1);
      return begin * (in - 1) + x * (end - begin) * (in - 1) / (out - 1);
    }
  }
  return 0;
}

double Nearest(ResizeRounding rounding, double x) {
  switch (rounding) {
    case ResizeRounding::kRoundPreferFloor:
      return std::ceil(x - 0.5);
    case ResizeRounding::kRoundPreferCeil:
      return std::floor(x + 0.5);
    case ResizeRounding::kFloor:
      return std::floor(x);
    case ResizeRounding::kCeil:
      return std::ceil(x);
  }
  return 0;
}

// Weight of an input at distance t from the coordinate.
double Kernel(const ResizeArgs& args, double t) {
  t = std::fabs(t);
  if (args.mode == ResizeMode::kLinear) return std::max(0.0, 1 - t);
  const double a = args.cubic_a;
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return a * (((t - 5) * t + 8) * t - 4);
  return 0;
}

class Resampler {
 public:
  explicit Resampler(const ResizeArgs& args) : args_(args), rank_(args.x.shape.rank()) {
    DenseStrides(args.x.shape, stride_);
  }

  double At(const int64_t (&out)[kMaxRank]) const {
    for (int d = 0; d < rank_; ++d) {
      if (args_.coordinate != ResizeCoordinate::kTfCropAndResize || Untouched(d)) continue;
      const double x = Coordinate(args_, d, out[d]);
      // A region from data may be anything, NaN too.
      if (!(x >= 0 && x <= static_cast<double>(args_.x.shape[d] - 1))) return args_.extrapolation;
    }
    return Sum(0, 0, out);
  }

 private:
  bool Untouched(int d) const {
    return args_.scale[d] == 1 && args_.x.shape[d] == args_.y.shape[d] && args_.roi_begin[d] == 0 &&
           args_.roi_end[d] == 1;
  }

  double Sum(int d, int64_t from, const int64_t (&out)[kMaxRank]) const {
    if (d == rank_) return LoadOne<double>(args_.x.dtype, args_.x.data, from);
    if (Untouched(d)) return Sum(d + 1, from + out[d] * stride_[d], out);
    const int64_t extent = args_.x.shape[d];
    const double top = static_cast<double>(extent - 1);
    const double x = Coordinate(args_, d, out[d]);
    if (args_.mode == ResizeMode::kNearest) {
      const double rounded = Nearest(args_.rounding, x);
      const double near = rounded >= 0 ? std::min(rounded, top) : 0;  // NaN is the first
      return Sum(d + 1, from + static_cast<int64_t>(near) * stride_[d], out);
    }
    const double reach = args_.mode == ResizeMode::kLinear ? 1 : 2;
    // An extent of y above 0 means a scale of about 1 / extent at least: that bounds the taps.
    const double least = 0.25 / static_cast<double>(extent);
    const double shrink = args_.antialias ? std::clamp(args_.scale[d], least, 1.0) : 1.0;
    // The coordinate clamped to where any tap can still be inside: beyond, every tap is the edge.
    const double support = reach / shrink;
    const double centre = std::clamp(x, -support - 1, top + support + 1);
    const double base = std::ceil(centre) - 1;
    const double first = base + std::floor(-support) + 1;
    const double last = base - std::floor(-support);
    double weights = 0;
    double sum = 0;
    for (double at = first; at <= last; ++at) {
      if (args_.exclude_outside && (at < 0 || at > top)) continue;
      const double weight = Kernel(args_, (at - centre) * shrink);
      weights += weight;
      if (weight == 0) continue;
      sum += weight *
             Sum(d + 1, from + static_cast<int64_t>(std::clamp(at, 0.0, top)) * stride_[d], out);
    }
    return args_.antialias || args_.exclude_outside ? sum / weights : sum;
  }

  const ResizeArgs& args_;
  int rank_;
  int64_t stride_[kMaxRank] = {};
};

}  // namespace

void Resize(const ResizeArgs& args) {
  const Shape& shape = args.y.shape;
  CHECK_EQ(shape.rank(), args.x.shape.rank());
  if (shape.elements() == 0) return;
  CHECK_GT(args.x.shape.elements(), 0);
  const Resampler resampler(args);
  int64_t index[kMaxRank] = {};
  for (int64_t i = 0; i < shape.elements(); ++i) {
    StoreOne(args.y.dtype, args.y.data, i, resampler.At(index));
    for (int d = shape.rank() - 1; d >= 0 && ++index[d] == shape[d]; --d) index[d] = 0;
  }
}

}  // namespace sluice::kernels::ref

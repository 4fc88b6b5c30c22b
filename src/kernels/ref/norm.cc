// Normalisations over rows, channels and groups.
#include "kernels/ref/norm.h"

#include <cmath>

#include "kernels/ref/lanes.h"
#include "kernels/ref/walk.h"

namespace sluice::kernels::ref {
namespace {

// Calls f(value) for `n` elements at first, first + stride, ...
template <class F>
void ForValues(const ConstView& x, int64_t first, int64_t stride, int64_t n, F&& f) {
  double lanes[kLanes];
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t m = n - i < kLanes ? n - i : kLanes;
    LoadLanes(x.dtype, x.data, first + i * stride, stride, m, lanes);
    for (int64_t j = 0; j < m; ++j) f(lanes[j]);
  }
}

// y = f(x, position) over the same elements.
template <class F>
void MapValues(const ConstView& x, const View& y, int64_t first, int64_t stride, int64_t n, F&& f) {
  double lanes[kLanes];
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t m = n - i < kLanes ? n - i : kLanes;
    LoadLanes(x.dtype, x.data, first + i * stride, stride, m, lanes);
    for (int64_t j = 0; j < m; ++j) lanes[j] = f(lanes[j], i + j);
    StoreLanes(y.dtype, y.data, first + i * stride, stride, m, lanes);
  }
}

struct Moments {
  double mean = 0;
  double variance = 0;  // population
};
Moments MomentsOf(const ConstView& x, int64_t first, int64_t n) {
  Moments m;
  ForValues(x, first, 1, n, [&](double v) { m.mean += v; });
  m.mean /= static_cast<double>(n);
  ForValues(x, first, 1, n, [&](double v) { m.variance += (v - m.mean) * (v - m.mean); });
  m.variance /= static_cast<double>(n);
  return m;
}

double At(const ConstView& x, int64_t i) {
  return LoadOne<double>(x.dtype, x.data, i);
}

}  // namespace

void LayerNorm(const LayerNormArgs& args) {
  const Shape& shape = args.x.shape;
  const int axis = args.axis < 0 ? args.axis + shape.rank() : args.axis;
  const int64_t rows = shape.elements(0, axis);
  const int64_t n = shape.elements(axis, shape.rank());
  CHECK_EQ(args.y.shape.elements(), rows * n);
  if (n == 0) return;
  for (int64_t row = 0; row < rows; ++row) {
    Moments m;
    if (args.rms) {
      ForValues(args.x, row * n, 1, n, [&](double v) { m.variance += v * v; });
      m.variance /= static_cast<double>(n);
    } else {
      m = MomentsOf(args.x, row * n, n);
    }
    const double inv = 1 / std::sqrt(m.variance + args.epsilon);
    if (args.mean.data != nullptr) StoreOne(args.mean.dtype, args.mean.data, row, m.mean);
    if (args.inv_std.data != nullptr) StoreOne(args.inv_std.dtype, args.inv_std.data, row, inv);
    int64_t scale_strides[kMaxRank] = {};
    int64_t bias_strides[kMaxRank] = {};
    if (args.scale.data != nullptr) BroadcastStrides(args.scale.shape, shape, scale_strides);
    if (args.bias.data != nullptr) BroadcastStrides(args.bias.shape, shape, bias_strides);
    MapValues(args.x, args.y, row * n, 1, n, [&](double v, int64_t i) {
      double value = (v - m.mean) * inv;
      int64_t scale_at = 0;
      int64_t bias_at = 0;
      int64_t rest = row * n + i;
      for (int d = shape.rank() - 1; d >= 0; --d) {
        scale_at += rest % shape[d] * scale_strides[d];
        bias_at += rest % shape[d] * bias_strides[d];
        rest /= shape[d];
      }
      if (args.scale.data != nullptr) value *= At(args.scale, scale_at);
      if (args.bias.data != nullptr) value += At(args.bias, bias_at);
      return value;
    });
  }
}

void BatchNorm(const BatchNormArgs& args) {
  const Shape& shape = args.x.shape;
  const int64_t batch = shape.rank() > 0 ? shape[0] : 1;
  const int64_t channels = shape.rank() > 1 ? shape[1] : 1;
  const int64_t inner = shape.rank() > 2 ? shape.elements(2, shape.rank()) : 1;
  for (int64_t c = 0; c < channels; ++c) {
    double mean = At(args.mean, c);
    double var = At(args.var, c);
    if (args.training) {
      const double count = static_cast<double>(batch * inner);
      double sum = 0;
      for (int64_t b = 0; b < batch; ++b) {
        ForValues(args.x, (b * channels + c) * inner, 1, inner, [&](double v) { sum += v; });
      }
      const double batch_mean = sum / count;
      sum = 0;
      for (int64_t b = 0; b < batch; ++b) {
        ForValues(args.x, (b * channels + c) * inner, 1, inner,
                  [&](double v) { sum += (v - batch_mean) * (v - batch_mean); });
      }
      const double batch_var = sum / count;
      const double keep = args.momentum;
      if (args.running_mean.data != nullptr) {
        StoreOne(args.running_mean.dtype, args.running_mean.data, c,
                 mean * keep + batch_mean * (1 - keep));
      }
      if (args.running_var.data != nullptr) {
        StoreOne(args.running_var.dtype, args.running_var.data, c,
                 var * keep + batch_var * (1 - keep));
      }
      mean = batch_mean;
      var = batch_var;
    }
    const double scale = At(args.scale, c) / std::sqrt(var + args.epsilon);
    const double bias = At(args.bias, c);
    for (int64_t b = 0; b < batch; ++b) {
      MapValues(args.x, args.y, (b * channels + c) * inner, 1, inner,
                [&](double v, int64_t) { return (v - mean) * scale + bias; });
    }
  }
}

void GroupNorm(const GroupNormArgs& args) {
  const Shape& shape = args.x.shape;
  CHECK_GE(shape.rank(), 2);
  const int64_t channels = shape[1];
  CHECK(args.groups > 0 && channels % args.groups == 0);
  const int64_t inner = shape.elements(2, shape.rank());
  const int64_t per_group = channels / args.groups;
  const int64_t n = per_group * inner;
  if (n == 0) return;
  const bool by_group = args.scale.shape.elements() == args.groups;
  CHECK(by_group || args.scale.shape.elements() == channels);
  for (int64_t row = 0; row < shape[0] * args.groups; ++row) {
    const Moments m = MomentsOf(args.x, row * n, n);
    const double inv = 1 / std::sqrt(m.variance + args.epsilon);
    const int64_t group = row % args.groups;
    for (int64_t k = 0; k < per_group; ++k) {
      const int64_t at = by_group ? group : group * per_group + k;
      const double scale = At(args.scale, at);
      const double bias = At(args.bias, at);
      MapValues(args.x, args.y, row * n + k * inner, 1, inner,
                [&](double v, int64_t) { return (v - m.mean) * inv * scale + bias; });
    }
  }
}

void LpNorm(const LpNormArgs& args) {
  const Shape& shape = args.x.shape;
  const int axis = args.axis < 0 ? args.axis + shape.rank() : args.axis;
  const int64_t outer = shape.elements(0, axis);
  const int64_t n = shape[axis];
  const int64_t inner = shape.elements(axis + 1, shape.rank());
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      const int64_t first = o * n * inner + i;
      double sum = 0;
      ForValues(args.x, first, inner, n,
                [&](double v) { sum += args.p == 1 ? std::fabs(v) : v * v; });
      const double norm = args.p == 1 ? sum : std::sqrt(sum);
      MapValues(args.x, args.y, first, inner, n,
                [&](double v, int64_t) { return norm == 0 ? 0.0 : v / norm; });
    }
  }
}

void MeanVarianceNorm(const MeanVarianceNormArgs& args) {
  const Shape& shape = args.x.shape;
  int64_t strides[kMaxRank];
  DenseStrides(shape, strides);
  Walk<1> kept;
  Walk<1> folded;
  double count = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (args.axes >> i & 1) {
      folded.Append(shape[i], {strides[i]});
      count *= static_cast<double>(shape[i]);
    } else {
      kept.Append(shape[i], {strides[i]});
    }
  }
  kept.Each([&](const int64_t(&at)[1]) {
    double mean = 0;
    double square = 0;
    folded.Each([&](const int64_t(&in)[1]) { mean += At(args.x, at[0] + in[0]); });
    mean /= count;
    folded.Each([&](const int64_t(&in)[1]) {
      const double d = At(args.x, at[0] + in[0]) - mean;
      square += d * d;
    });
    const double deviation = std::sqrt(square / count) + 1e-9;
    folded.Each([&](const int64_t(&in)[1]) {
      const int64_t i = at[0] + in[0];
      StoreOne(args.y.dtype, args.y.data, i, (At(args.x, i) - mean) / deviation);
    });
  });
}

void Lrn(const LrnArgs& args) {
  const Shape& shape = args.x.shape;
  CHECK_GE(shape.rank(), 2);
  const int64_t channels = shape[1];
  const int64_t inner = shape.elements(2, shape.rank());
  const int64_t below = (args.size - 1) / 2;
  const int64_t above = args.size - 1 - below;
  for (int64_t b = 0; b < shape[0]; ++b) {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t lo = c - below > 0 ? c - below : 0;
      const int64_t hi = c + above < channels ? c + above : channels - 1;
      for (int64_t i = 0; i < inner; ++i) {
        double sum = 0;
        for (int64_t k = lo; k <= hi; ++k) {
          const double v = At(args.x, (b * channels + k) * inner + i);
          sum += v * v;
        }
        const int64_t at = (b * channels + c) * inner + i;
        const double base = args.bias + args.alpha / static_cast<double>(args.size) * sum;
        StoreOne(args.y.dtype, args.y.data, at, At(args.x, at) / std::pow(base, args.beta));
      }
    }
  }
}

}  // namespace sluice::kernels::ref

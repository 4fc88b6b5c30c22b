// Reference windows over space: convolution and its transpose, pooling, resize. Layout [N, C,
// spatial...] with up to kMaxSpatial spatial axes; floats accumulate in double.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

inline constexpr int kMaxSpatial = tensor::kMaxRank - 2;

// Position of a window on each spatial axis: input = output * stride - pad + tap * dilation. The
// end pads follow from the output's shape.
struct Window {
  int64_t kernel[kMaxSpatial] = {1, 1, 1, 1, 1, 1};
  int64_t stride[kMaxSpatial] = {1, 1, 1, 1, 1, 1};
  int64_t dilation[kMaxSpatial] = {1, 1, 1, 1, 1, 1};
  int64_t pad[kMaxSpatial] = {};  // at the begin
};

// x [N, C, ...], weight [M, C / groups, kernel...], bias [M] (optional) -> y [N, M, ...]. Any float
// dtype, or with x and weight of i8/u8: y i32 and optional zero points (ConvInteger; x_zero one
// element, weight_zero one or M).
struct ConvArgs {
  ConstView x;
  ConstView weight;
  ConstView bias;
  View y;
  Window window;
  int64_t groups = 1;
  ConstView x_zero = {};
  ConstView weight_zero = {};
};
void Conv(const ConvArgs& args);

// x [N, C, ...], weight [C, M / groups, kernel...], bias [M] (optional) -> y [N, M, ...]: each
// input adds its window of y at output = input * stride - pad + tap * dilation.
struct ConvTransposeArgs {
  ConstView x;
  ConstView weight;
  ConstView bias;
  View y;
  Window window;
  int64_t groups = 1;
};
void ConvTranspose(const ConvTransposeArgs& args);

// Max ignores padding; indices (optional, int64) are positions of the maximum in x flattened, with
// `column_major` counting the spatial axes in reverse. Average divides by the taps within x, or
// with `include_pad` within x and its pads (pad_end on each axis says where those stop). Lp: (sum
// |x|^p)^(1/p).
enum class PoolOp : uint8_t { kMax, kAverage, kLp };
struct PoolArgs {
  PoolOp op = PoolOp::kMax;
  ConstView x;
  View y;
  View indices = {};
  Window window;
  int64_t pad_end[kMaxSpatial] = {};
  bool include_pad = false;
  bool column_major = false;
  int64_t p = 2;
};
void Pool(const PoolArgs& args);
// Global pools are Reduce over the spatial axes; a global Lp pool is a Pool whose kernel is x's
// extents.

// y[i] = x at the coordinate that `coordinate` maps i to, per axis of any rank: nearest, linear, or
// cubic. scale[d] = y extent / x extent as the model states it; roi_begin/roi_end are for
// kTfCropAndResize, whose points outside of x give `extrapolation`. Axes where scale is 1 and the
// extents agree are left alone.
enum class ResizeMode : uint8_t { kNearest, kLinear, kCubic };
enum class ResizeCoordinate : uint8_t {
  kHalfPixel,
  kHalfPixelSymmetric,
  kPytorchHalfPixel,
  kAlignCorners,
  kAsymmetric,
  kTfCropAndResize,
};
enum class ResizeRounding : uint8_t { kRoundPreferFloor, kRoundPreferCeil, kFloor, kCeil };
struct ResizeArgs {
  ResizeMode mode = ResizeMode::kNearest;
  ResizeCoordinate coordinate = ResizeCoordinate::kHalfPixel;
  ResizeRounding rounding = ResizeRounding::kRoundPreferFloor;
  ConstView x;
  View y;
  double scale[tensor::kMaxRank] = {1, 1, 1, 1, 1, 1, 1, 1};
  double roi_begin[tensor::kMaxRank] = {};
  double roi_end[tensor::kMaxRank] = {1, 1, 1, 1, 1, 1, 1, 1};
  double extrapolation = 0;
  double cubic_a = -0.75;
  bool exclude_outside = false;
  bool antialias = false;
};
void Resize(const ResizeArgs& args);

}  // namespace sluice::kernels::ref

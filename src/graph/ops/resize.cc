// Resize, and Upsample as its older form.
#include <algorithm>
#include <array>
#include <cmath>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/lanes.h"
#include "kernels/ref/window.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using kernels::ref::ResizeArgs;
using kernels::ref::ResizeCoordinate;
using kernels::ref::ResizeMode;
using kernels::ref::ResizeRounding;

// A factor beyond this is refused: extents stay far from overflow.
constexpr double kScaleMax = 1e6;

// Which inputs are which: Resize 10 and Upsample have no roi and no sizes.
struct ResizeInputs {
  size_t roi = 1;
  size_t scales = 2;
  size_t sizes = 3;
};
ResizeInputs InputsOf(const Node& node) {
  if (node.op->since >= 11) return {};
  return {SIZE_MAX, 1, SIZE_MAX};
}

// How one axis changes.
struct AxisResize {
  double scale = 1;
  int64_t extent = 0;
};

enum class AspectPolicy { kStretch, kNotLarger, kNotSmaller };

template <class Context>
Result<AspectPolicy> PolicyOf(const Context& context) {
  const std::string_view name = context.node().String("keep_aspect_ratio_policy", "stretch");
  if (name == "stretch") return AspectPolicy::kStretch;
  if (name == "not_larger") return AspectPolicy::kNotLarger;
  if (name == "not_smaller") return AspectPolicy::kNotSmaller;
  return context.Fail("keep_aspect_ratio_policy is not known");
}

// The axes that scales, sizes and roi are for: the attribute, or all.
template <class Context>
Result<Ints> AxesOf(const Context& context, int rank) {
  Ints axes;
  if (!context.node().Has("axes")) {
    for (int i = 0; i < rank; ++i) axes.values[axes.count++] = i;
    return axes;
  }
  uint32_t seen = 0;
  for (const int64_t axis : context.node().Ints("axes")) {
    const int normal = TRY(NormalAxis(context, axis, rank));
    if ((seen >> normal & 1u) != 0) return context.Fail("an axis is listed twice");
    seen |= 1u << normal;
    axes.values[axes.count++] = normal;
  }
  return axes;
}

template <class Context>
Status CheckAttributes(const Context& context, ResizeArgs& args) {
  const Node& node = context.node();
  const std::string_view mode = node.String("mode", "nearest");
  if (mode == "nearest") {
    args.mode = ResizeMode::kNearest;
  } else if (mode == "linear") {
    args.mode = ResizeMode::kLinear;
  } else if (mode == "cubic") {
    args.mode = ResizeMode::kCubic;
  } else {
    return context.Fail("mode is not known");
  }
  const std::string_view coordinate = node.String(
      "coordinate_transformation_mode", node.op->since >= 11 ? "half_pixel" : "asymmetric");
  if (coordinate == "half_pixel") {
    args.coordinate = ResizeCoordinate::kHalfPixel;
  } else if (coordinate == "half_pixel_symmetric") {
    args.coordinate = ResizeCoordinate::kHalfPixelSymmetric;
  } else if (coordinate == "pytorch_half_pixel") {
    args.coordinate = ResizeCoordinate::kPytorchHalfPixel;
  } else if (coordinate == "align_corners") {
    args.coordinate = ResizeCoordinate::kAlignCorners;
  } else if (coordinate == "asymmetric") {
    args.coordinate = ResizeCoordinate::kAsymmetric;
  } else if (coordinate == "tf_crop_and_resize") {
    args.coordinate = ResizeCoordinate::kTfCropAndResize;
  } else {
    return context.Fail("coordinate_transformation_mode is not supported");
  }
  const std::string_view rounding =
      node.String("nearest_mode", node.op->since >= 11 ? "round_prefer_floor" : "floor");
  if (rounding == "round_prefer_floor") {
    args.rounding = ResizeRounding::kRoundPreferFloor;
  } else if (rounding == "round_prefer_ceil") {
    args.rounding = ResizeRounding::kRoundPreferCeil;
  } else if (rounding == "floor") {
    args.rounding = ResizeRounding::kFloor;
  } else if (rounding == "ceil") {
    args.rounding = ResizeRounding::kCeil;
  } else {
    return context.Fail("nearest_mode is not known");
  }
  args.extrapolation = static_cast<double>(node.Float("extrapolation_value", 0));
  args.cubic_a = static_cast<double>(node.Float("cubic_coeff_a", -0.75F));
  args.exclude_outside = node.Int("exclude_outside", 0) != 0;
  args.antialias = node.Int("antialias", 0) != 0;
  return Ok();
}

// From the sizes of some axes to what becomes of each; with a policy, one scale for all of them.
template <class Context>
Status FromSizes(const Context& context, const Ints& axes, const Ints& sizes,
                 const int64_t* extents, AxisResize* out) {
  const AspectPolicy policy = TRY(PolicyOf(context));
  if (sizes.count != axes.count) return context.Fail("sizes must list one extent for each axis");
  double shared = policy == AspectPolicy::kNotLarger ? INFINITY : 0;
  for (int64_t i = 0; i < axes.count; ++i) {
    const int64_t extent = extents[axes[i]];
    if (sizes[i] < 0 || sizes[i] > INT32_MAX || extent < 1)
      return context.Fail("an extent is out of range");
    const double scale = static_cast<double>(sizes[i]) / static_cast<double>(extent);
    out[axes[i]] = {scale, sizes[i]};
    shared = policy == AspectPolicy::kNotLarger ? std::min(shared, scale) : std::max(shared, scale);
  }
  if (policy == AspectPolicy::kStretch) return Ok();
  for (const int64_t axis : axes) {
    const double extent = std::floor(shared * static_cast<double>(extents[axis]) + 0.5);
    if (!(extent <= INT32_MAX)) return context.Fail("an extent is out of range");
    out[axis] = {shared, static_cast<int64_t>(extent)};
  }
  return Ok();
}

template <class Context>
Status FromScales(const Context& context, const Ints& axes, const tensor::ConstView& scales,
                  const int64_t* extents, AxisResize* out) {
  if (scales.shape.elements() != axes.count)
    return context.Fail("scales must list one factor for each axis");
  for (int64_t i = 0; i < axes.count; ++i) {
    const auto scale = kernels::ref::LoadOne<double>(scales.dtype, scales.data, i);
    if (!(scale > 0 && scale <= kScaleMax)) return context.Fail("a scale is out of range");
    const int64_t extent = extents[axes[i]];
    if (extent > INT32_MAX) return context.Fail("an extent is out of range");
    out[axes[i]] = {scale, static_cast<int64_t>(std::floor(static_cast<double>(extent) * scale))};
  }
  return Ok();
}

Status InferResize(InferContext& context) {
  const ResizeInputs inputs = InputsOf(context.node());
  TRY(ExpectType(context, 0, kNumericTypes));
  TRY(ExpectType(context, inputs.scales, Types({DType::kF32})));
  TRY(ExpectType(context, inputs.roi, kFloatTypes));
  TRY(ExpectType(context, inputs.sizes, kInt64Type));
  ResizeArgs unused;
  TRY(CheckAttributes(context, unused));
  TRY(PolicyOf(context));
  const SymShape* x = context.shape(0);
  if (x == nullptr) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    return Ok();
  }
  const Ints axes = TRY(AxesOf(context, static_cast<int>(x->size())));
  SymShape result = *x;
  const tensor::Tensor* scales = context.constant(inputs.scales);
  const std::optional<std::vector<int64_t>> sizes = context.ints(inputs.sizes);
  int64_t extents[tensor::kMaxRank] = {};
  bool known = true;
  for (const int64_t axis : axes) {
    const Dim dim = (*x)[static_cast<size_t>(axis)];
    known = known && dim.is_constant();
    if (dim.is_constant()) extents[axis] = dim.constant();
  }
  AxisResize resized[tensor::kMaxRank];
  if (known && sizes.has_value() && static_cast<int64_t>(sizes->size()) <= Ints::kMax) {
    Ints list;
    for (const int64_t size : *sizes) list.values[list.count++] = size;
    TRY(FromSizes(context, axes, list, extents, resized));
  } else if (known && scales != nullptr && !context.has_input(inputs.sizes)) {
    TRY(FromScales(context, axes, scales->view(), extents, resized));
  } else {
    known = false;
  }
  for (const int64_t axis : axes) {
    result[static_cast<size_t>(axis)] =
        known ? Dim(resized[axis].extent) : context.Fresh("resized");
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

// Taps of every output, over all axes that change. An antialiased kernel is stretched by the
// inverse of the scale.
int64_t WorkOf(const ResizeArgs& args, const Shape& y) {
  int64_t work = y.elements();
  if (args.mode == ResizeMode::kNearest) return work;
  for (int i = 0; i < y.rank(); ++i) {
    const double reach = args.mode == ResizeMode::kLinear ? 1 : 2;
    const double support = args.antialias ? reach / std::min(args.scale[i], 1.0) : reach;
    if (args.scale[i] != 1)
      work = Operations({work, static_cast<int64_t>(std::min(2 * support + 1, 1e15))});
  }
  return work;
}

Status RunResize(RunContext& context) {
  const ResizeInputs inputs = InputsOf(context.node());
  ResizeArgs args;
  args.x = context.input(0);
  TRY(CheckAttributes(context, args));
  const Shape& x = args.x.shape;
  const Ints axes = TRY(AxesOf(context, x.rank()));
  AxisResize resized[tensor::kMaxRank];
  for (int i = 0; i < x.rank(); ++i) resized[i] = {1, x[i]};
  if (context.has_input(inputs.sizes) && context.input(inputs.sizes).shape.elements() > 0) {
    const Ints sizes = TRY(ReadInts(context, inputs.sizes));
    TRY(FromSizes(context, axes, sizes, x.dims().data(), resized));
  } else if (context.has_input(inputs.scales)) {
    TRY(FromScales(context, axes, context.input(inputs.scales), x.dims().data(), resized));
  } else {
    return context.Fail("needs scales or sizes");
  }
  if (args.coordinate == ResizeCoordinate::kTfCropAndResize) {
    const tensor::ConstView& roi = context.input(inputs.roi);
    if (!context.has_input(inputs.roi) || roi.shape.elements() != 2 * axes.count) {
      return context.Fail("roi must list a beginning and an end for each axis");
    }
    for (int64_t i = 0; i < axes.count; ++i) {
      args.roi_begin[axes[i]] = kernels::ref::LoadOne<double>(roi.dtype, roi.data, i);
      args.roi_end[axes[i]] = kernels::ref::LoadOne<double>(roi.dtype, roi.data, axes.count + i);
      // Comparisons that NaN fails.
      if (!(std::abs(args.roi_begin[axes[i]]) <= kScaleMax) ||
          !(std::abs(args.roi_end[axes[i]]) <= kScaleMax)) {
        return context.Fail("a roi is out of range");
      }
    }
  }
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    args.scale[i] = resized[i].scale;
    shape.Append(resized[i].extent);
  }
  shape = TRY(Shape::FromDims(shape.dims()));
  if (x.elements() == 0 && shape.elements() > 0)
    return context.Fail("an empty tensor cannot be resized");
  TRY(context.TakeWork(WorkOf(args, shape)));
  args.y = TRY(context.Output(0, args.x.dtype, shape));
  kernels::ref::Resize(args);
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"Resize", 10, 2, 2, 1, 1, kNoTraits, InferResize, RunResize},
    {"Resize", 11, 1, 4, 1, 1, kNoTraits, InferResize, RunResize},
    {"Upsample", 9, 2, 2, 1, 1, kNoTraits, InferResize, RunResize},
});

}  // namespace

std::span<const OpDef> ResizeOps() {
  return kOps;
}

}  // namespace sluice::graph

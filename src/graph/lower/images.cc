// Convolutions and pools on channels-last images.
#include "graph/lower/images.h"

#include <cstddef>

#include "graph/lower/lowering_rules.h"
#include "graph/lower/strided_copy.h"
#include "graph/op.h"
#include "graph/ops/windows.h"
#include "kernels/conv.h"
#include "kernels/gemm.h"
#include "kernels/pool.h"
#include "kernels/transpose.h"

namespace sluice::graph {
namespace {

using kernels::ConvArgs;
using kernels::DepthwiseArgs;
using kernels::GemmArgs;
using kernels::ImageWindow;
using kernels::PoolArgs;
using kernels::TransposeArgs;
using tensor::DType;
using tensor::Shape;

void RunConvStep(const void* args, kernels::Tiles tiles) {
  kernels::Conv(*static_cast<const ConvArgs*>(args), tiles);
}
void RunDepthwiseStep(const void* args, kernels::Tiles tiles) {
  kernels::Depthwise(*static_cast<const DepthwiseArgs*>(args), tiles);
}
void RunPointwiseStep(const void* args, kernels::Tiles tiles) {
  kernels::Gemm(*static_cast<const GemmArgs*>(args), tiles);
}
void RunPoolStep(const void* args, kernels::Tiles tiles) {
  kernels::Pool(*static_cast<const PoolArgs*>(args), tiles);
}
void RunTransposeStep(const void* args, kernels::Tiles tiles) {
  kernels::Transpose(*static_cast<const TransposeArgs*>(args), tiles);
}

// One spatial axis is an image of one row.
ImageWindow ToImage(const WindowAt& at, const Shape& x) {
  const int column = at.spatial - 1;
  ImageWindow w;
  w.batch = x[0];
  w.columns = x[2 + column];
  w.out_columns = at.extent[column];
  w.kernel_columns = at.window.kernel[column];
  w.stride_columns = at.window.stride[column];
  w.dilation_columns = at.window.dilation[column];
  w.pad_left = at.window.pad[column];
  if (at.spatial == 1) return w;
  w.rows = x[2];
  w.out_rows = at.extent[0];
  w.kernel_rows = at.window.kernel[0];
  w.stride_rows = at.window.stride[0];
  w.dilation_rows = at.window.dilation[0];
  w.pad_top = at.window.pad[0];
  return w;
}

std::string Describe(const ImageWindow& w, int64_t from, int64_t to) {
  return std::to_string(w.kernel_rows) + "x" + std::to_string(w.kernel_columns) + " " +
         std::to_string(from) + "->" + std::to_string(to) + " at " + std::to_string(w.batch) + "x" +
         std::to_string(w.out_rows) + "x" + std::to_string(w.out_columns);
}

// What the forms of a convolution share.
struct ConvStep {
  const Node* node = nullptr;
  ImageWindow window;
  int64_t channels = 0;  // of x
  int64_t outputs = 0;
  Pixels x;
  Pixels y;
  Pixels residual;  // no buffer: none
  Ref bias;
  kernels::Activation activation = kernels::Activation::kNone;
  StepInfo info;
};
constexpr size_t kFirstWeight = 3;

Ref Shifted(Ref ref, int64_t elements) {
  if (ref.buffer >= 0) ref.offset += elements * 4;
  return ref;
}

// A window of one pixel without strides and pads is a product of rows.
bool IsPointwise(const ImageWindow& w) {
  return w.taps() == 1 && w.stride_rows == 1 && w.stride_columns == 1 && w.pad_top == 0 &&
         w.pad_left == 0 && w.out_rows == w.rows && w.out_columns == w.columns;
}

void AddPointwise(Lowering& lowering, const ConvStep& step, const kernels::PackedMatrix& weight) {
  GemmArgs args;
  args.m = step.window.pixels();
  args.a_stride = step.x.pixel;
  args.b = weight;
  args.residual_stride = step.residual.pixel;
  args.c_stride = step.y.pixel;
  args.activation = step.activation;
  lowering.builder().Add({.run = RunPointwiseStep,
                          .tiles = kernels::GemmTiles(args),
                          .work = kernels::GemmWork(args),
                          .info = step.info},
                         args,
                         {{offsetof(GemmArgs, a), step.x.ref},
                          {offsetof(GemmArgs, bias), step.bias},
                          {offsetof(GemmArgs, residual), step.residual.ref},
                          {offsetof(GemmArgs, c), step.y.ref}});
}

// Group `group` of `groups`.
void AddWindows(Lowering& lowering, const ConvStep& step, const kernels::PackedMatrix& weight,
                int64_t group, int64_t groups) {
  ConvArgs args;
  args.window = step.window;
  args.channels = step.channels / groups;
  args.x_pixel = step.x.pixel;
  args.weight = weight;
  args.residual_pixel = step.residual.pixel;
  args.y_pixel = step.y.pixel;
  args.activation = step.activation;
  const int64_t to = group * weight.n;
  lowering.builder().Add({.run = RunConvStep,
                          .tiles = kernels::ConvTiles(args),
                          .work = kernels::ConvWork(args),
                          .info = step.info},
                         args,
                         {{offsetof(ConvArgs, x), Shifted(step.x.ref, group * args.channels)},
                          {offsetof(ConvArgs, bias), Shifted(step.bias, to)},
                          {offsetof(ConvArgs, residual), Shifted(step.residual.ref, to)},
                          {offsetof(ConvArgs, y), Shifted(step.y.ref, to)}});
}

void AddDepthwise(Lowering& lowering, const ConvStep& step) {
  DepthwiseArgs args;
  args.window = step.window;
  args.channels = step.channels;
  args.x_pixel = step.x.pixel;
  args.y_pixel = step.y.pixel;
  args.activation = step.activation;
  lowering.builder().Add(
      {.run = RunDepthwiseStep,
       .tiles = kernels::DepthwiseTiles(args),
       .work = kernels::DepthwiseWork(args),
       .info = step.info},
      args,
      {{offsetof(DepthwiseArgs, x), step.x.ref},
       {offsetof(DepthwiseArgs, weight), lowering.Packed(step.node->input(kFirstWeight))},
       {offsetof(DepthwiseArgs, bias), step.bias},
       {offsetof(DepthwiseArgs, y), step.y.ref}});
}

// Whether the weights take x; the message when not.
base::Status CheckChannels(Lowering& lowering, const Node& node, int64_t channels, int64_t taps) {
  const int64_t groups = node.Int("group", 1);
  const Shape& weight = lowering.shape(node.input(kFirstWeight));
  const bool depthwise = node.Int("depthwise", 0) != 0;
  const int64_t wanted = depthwise ? weight[1] : weight[0] / taps * groups;
  if (channels == wanted) return base::Ok();
  return base::InvalidArgument("node '" + node.name + "': the input has " +
                               std::to_string(channels) + " channels, the weight takes " +
                               std::to_string(wanted));
}

base::Result<bool> LowerConv(Lowering& lowering, const Node& node) {
  const Shape& x = lowering.shape(node.input(0));
  const std::optional<WindowAt> at = FindWindow(node, x);
  const Shape& output = lowering.shape(node.output());
  if (!at.has_value() || x.rank() != output.rank()) {
    return base::InvalidArgument("node '" + node.name + "': the window does not fit " +
                                 x.ToString());
  }
  ConvStep step;
  step.node = &node;
  step.window = ToImage(*at, x);
  step.channels = x[1];
  step.outputs = output[1];
  TRY(CheckChannels(lowering, node, step.channels, step.window.taps()));
  if (const Value* residual = node.input(2)) {
    if (!(lowering.shape(residual) == output)) {
      return base::InvalidArgument("node '" + node.name + "': cannot add " +
                                   lowering.shape(residual).ToString() + " to " +
                                   output.ToString());
    }
    step.residual = ChannelsLast(lowering, residual);
  }
  step.x = ChannelsLast(lowering, node.input(0));
  if (node.input(1) != nullptr) step.bias = lowering.Packed(node.input(1));
  step.y = DefineChannelsLast(lowering, node.output());
  const std::string_view activation = node.String("activation", "none");
  step.activation = ActivationNamed(activation);
  const bool depthwise = node.Int("depthwise", 0) != 0;
  step.info = lowering.Info(node, depthwise ? "depthwise conv" : "conv");
  step.info.detail = Describe(step.window, step.channels, step.outputs);
  if (node.input(1) != nullptr) step.info.detail += " +bias";
  if (node.input(2) != nullptr) step.info.detail += " +residual";
  if (activation != "none") step.info.detail += " " + std::string(activation);
  if (depthwise) {
    AddDepthwise(lowering, step);
    return true;
  }
  const int64_t groups = node.Int("group", 1);
  for (int64_t group = 0; group < groups; ++group) {
    const size_t input = kFirstWeight + static_cast<size_t>(group);
    const kernels::PackedWeight* weight = lowering.weight(node.input(input), false);
    CHECK(weight != nullptr) << node.name;
    if (groups == 1 && IsPointwise(step.window)) {
      AddPointwise(lowering, step, weight->matrix());
    } else {
      AddWindows(lowering, step, weight->matrix(), group, groups);
    }
  }
  return true;
}

// ---- Pools ----

bool IsImage(const Lowering& lowering, const Value* value) {
  const Shape& shape = lowering.shape(value);
  return value->dtype == DType::kF32 && shape.rank() >= 3 && shape.rank() <= 4;
}

void AddPool(Lowering& lowering, const Node& node, PoolArgs args) {
  const Pixels x = ChannelsLast(lowering, node.input(0));
  const Pixels y = DefineChannelsLast(lowering, node.output());
  args.channels = lowering.shape(node.input(0))[1];
  args.x_pixel = x.pixel;
  args.y_pixel = y.pixel;
  StepInfo info = lowering.Info(node, "pool");
  info.detail = Describe(args.window, args.channels, args.channels);
  info.detail += args.op == kernels::ImagePool::kMax ? " max" : " mean";
  lowering.builder().Add({.run = RunPoolStep,
                          .tiles = kernels::PoolTiles(args),
                          .work = kernels::PoolWork(args),
                          .info = std::move(info)},
                         args, {{offsetof(PoolArgs, x), x.ref}, {offsetof(PoolArgs, y), y.ref}});
}

template <kernels::ImagePool kOp>
base::Result<bool> LowerPool(Lowering& lowering, const Node& node) {
  if (!IsImage(lowering, node.input(0)) || node.output(1) != nullptr) return false;
  const Shape& x = lowering.shape(node.input(0));
  const std::optional<WindowAt> at = FindWindow(node, x);
  if (!at.has_value()) return false;
  PoolArgs args;
  args.op = kOp;
  args.window = ToImage(*at, x);
  args.count_padding = node.Int("count_include_pad", 0) != 0;
  args.pad_right = at->pad_end[at->spatial - 1];
  if (at->spatial == 2) args.pad_bottom = at->pad_end[0];
  AddPool(lowering, node, args);
  return true;
}

template <kernels::ImagePool kOp>
base::Result<bool> LowerGlobalPool(Lowering& lowering, const Node& node) {
  if (!IsImage(lowering, node.input(0))) return false;
  const Shape& x = lowering.shape(node.input(0));
  if (x.elements() == 0) return false;
  PoolArgs args;
  args.op = kOp;
  args.window.batch = x[0];
  args.window.columns = args.window.kernel_columns = x[x.rank() - 1];
  if (x.rank() == 4) args.window.rows = args.window.kernel_rows = x[2];
  AddPool(lowering, node, args);
  return true;
}

}  // namespace

void SetChannelsLastStrides(const Shape& shape, int64_t pixel, Place& place) {
  int64_t stride = pixel;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (axis == 1) continue;
    place.strides[axis] = stride;
    stride *= shape[axis];
  }
  place.strides[1] = 1;
}

int64_t PixelStride(const Shape& shape, const Place& place) {
  if (shape.rank() < 3 || (shape[1] != 1 && place.strides[1] != 1)) return 0;
  int64_t pixel = shape[1];
  int64_t between = 1;  // pixels from one position of the axis to the next
  bool found = false;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (axis == 1) continue;
    if (shape[axis] == 1) continue;
    if (!found) {
      pixel = place.strides[axis];
      found = true;
    }
    if (place.strides[axis] != pixel * between) return 0;
    between *= shape[axis];
  }
  return pixel < shape[1] ? 0 : pixel;
}

Pixels ChannelsLast(Lowering& lowering, const Value* value) {
  const Shape& shape = lowering.shape(value);
  const Place from = lowering.place(value);
  if (const int64_t pixel = PixelStride(shape, from); pixel > 0) return {from.ref, pixel};
  Place to;
  to.ref = {lowering.builder().NewBuffer(shape.elements() * 4), 0};
  SetChannelsLastStrides(shape, shape[1], to);
  StepInfo info{"copy", value->name, shape.ToString() + " channels last", {}};
  if (IsPacked(shape, from)) {
    TransposeArgs args;
    args.rank = 3;
    args.shape[0] = shape[0];
    args.shape[1] = shape[1];
    args.shape[2] = shape.elements(2, shape.rank());
    args.perm[0] = 0;
    args.perm[1] = 2;
    args.perm[2] = 1;
    lowering.builder().Add(
        {.run = RunTransposeStep,
         .tiles = kernels::TransposeTiles(args),
         .work = kernels::TransposeWork(args),
         .info = std::move(info)},
        args, {{offsetof(TransposeArgs, x), from.ref}, {offsetof(TransposeArgs, y), to.ref}});
  } else {
    Shape last({shape[0]});
    Place moved;
    moved.strides[0] = from.strides[0];
    for (int axis = 2; axis < shape.rank(); ++axis) {
      moved.strides[last.rank()] = from.strides[axis];
      last.Append(shape[axis]);
    }
    moved.strides[last.rank()] = from.strides[1];
    last.Append(shape[1]);
    const StridedCopyArgs args = MakeStridedCopy(last, moved, 4);
    lowering.builder().Add(
        {.run = StridedCopy,
         .tiles = StridedCopyTiles(args),
         .work = StridedCopyWork(args),
         .info = std::move(info)},
        args,
        {{offsetof(StridedCopyArgs, src), from.ref}, {offsetof(StridedCopyArgs, dst), to.ref}});
  }
  lowering.Alias(value, to);
  return {to.ref, shape[1]};
}

Pixels DefineChannelsLast(Lowering& lowering, const Value* value) {
  const Shape& shape = lowering.shape(value);
  Place place;
  SetChannelsLastStrides(shape, shape[1], place);
  const Ref ref =
      lowering.DefineAt(value, std::span(place.strides, static_cast<size_t>(shape.rank())));
  return {ref, shape[1]};
}

std::span<const LoweringRule> ImageRules() {
  static constexpr LoweringRule kRules[] = {
      {"FusedConv", ~0u, LowerConv},
      {"MaxPool", ~0u, LowerPool<kernels::ImagePool::kMax>},
      {"AveragePool", ~0u, LowerPool<kernels::ImagePool::kMean>},
      {"GlobalMaxPool", ~0u, LowerGlobalPool<kernels::ImagePool::kMax>},
      {"GlobalAveragePool", ~0u, LowerGlobalPool<kernels::ImagePool::kMean>},
  };
  return kRules;
}

}  // namespace sluice::graph

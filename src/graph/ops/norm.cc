// Normalisations.
#include <array>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/norm.h"
#include "kernels/ref/reduce.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Status;

// ---- LayerNormalization, RMSNormalization ----

Status InferLayerNorm(InferContext& context) {
  for (size_t i = 0; i < 3; ++i) TRY(ExpectType(context, i, kFloatTypes));
  const std::optional<SymShape> shape = ShapeOf(context, 0);
  TRY(InferSame(context));
  std::optional<SymShape> rows = shape;
  if (shape.has_value()) {
    const int axis =
        TRY(NormalAxis(context, context.node().Int("axis", -1), static_cast<int>(shape->size())));
    for (size_t i = static_cast<size_t>(axis); i < rows->size(); ++i) (*rows)[i] = Dim(1);
  }
  context.SetOutput(1, DType::kF32, rows);
  context.SetOutput(2, DType::kF32, rows);
  return Ok();
}

template <bool rms>
Status RunLayerNorm(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", -1), x.shape.rank()));
  for (size_t i = 1; i < 3; ++i) {
    if (context.has_input(i) && !BroadcastsTo(context.input(i).shape, x.shape)) {
      return context.Fail("scale or bias " + context.input(i).shape.ToString() +
                          " does not broadcast to " + x.shape.ToString());
    }
  }
  kernels::ref::LayerNormArgs args;
  args.x = x;
  args.scale = context.input(1);
  args.bias = context.input(2);
  args.axis = axis;
  args.epsilon = static_cast<double>(context.node().Float("epsilon", 1e-5F));
  args.rms = rms;
  args.y = TRY(context.Output(0, x.dtype, x.shape));
  Shape rows = x.shape;
  for (int i = axis; i < rows.rank(); ++i) rows.set_dim(i, 1);
  if (context.has_output(1)) args.mean = TRY(context.Output(1, DType::kF32, rows));
  if (context.has_output(2)) args.inv_std = TRY(context.Output(2, DType::kF32, rows));
  kernels::ref::LayerNorm(args);
  return Ok();
}

// ---- BatchNormalization ----

Status InferBatchNorm(InferContext& context) {
  for (size_t i = 0; i < 5; ++i) TRY(ExpectType(context, i, kFloatTypes));
  if (context.node().Int("spatial", 1) != 1) return context.Fail("spatial = 0 is not supported");
  const SymShape* scale = context.shape(1);
  const std::optional<SymShape> channels =
      scale != nullptr ? std::optional<SymShape>(*scale) : std::nullopt;
  if (context.node().Int("training_mode", 0) == 0 && context.has_output(1)) {
    return context.Fail("running statistics are outputs of training only");
  }
  context.SetOutput(1, context.dtype(3), channels);
  context.SetOutput(2, context.dtype(4), channels);
  return InferSame(context);
}

Status RunBatchNorm(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const Shape channels({x.shape.rank() > 1 ? x.shape[1] : 1});
  for (size_t i = 1; i < 5; ++i) {
    if (context.input(i).shape != channels) {
      return context.Fail("input " + std::to_string(i) + " must have shape " + channels.ToString() +
                          ", has " + context.input(i).shape.ToString());
    }
  }
  kernels::ref::BatchNormArgs args;
  args.x = x;
  args.scale = context.input(1);
  args.bias = context.input(2);
  args.mean = context.input(3);
  args.var = context.input(4);
  args.epsilon = static_cast<double>(context.node().Float("epsilon", 1e-5F));
  args.training = context.node().Int("training_mode", 0) != 0;
  args.momentum = static_cast<double>(context.node().Float("momentum", 0.9F));
  args.y = TRY(context.Output(0, x.dtype, x.shape));
  if (context.has_output(1))
    args.running_mean = TRY(context.Output(1, context.input(3).dtype, channels));
  if (context.has_output(2))
    args.running_var = TRY(context.Output(2, context.input(4).dtype, channels));
  kernels::ref::BatchNorm(args);
  return Ok();
}

// ---- InstanceNormalization, GroupNormalization ----

Status InferGroupNorm(InferContext& context) {
  for (size_t i = 0; i < 3; ++i) TRY(ExpectType(context, i, kFloatTypes));
  const SymShape* shape = context.shape(0);
  if (shape != nullptr && shape->size() < 2)
    return context.Fail("needs at least batch and channels");
  return InferSame(context);
}

Status RunGroupNormWith(RunContext& context, int64_t groups) {
  const tensor::ConstView& x = context.input(0);
  if (groups < 1 || x.shape.rank() < 2 || x.shape[1] % groups != 0) {
    return context.Fail("the channels of " + x.shape.ToString() + " do not split into " +
                        std::to_string(groups) + " groups");
  }
  for (size_t i = 1; i < 3; ++i) {
    const Shape& shape = context.input(i).shape;
    if (shape != Shape({x.shape[1]}) && shape != Shape({groups})) {
      return context.Fail("scale and bias must have an element for each channel");
    }
  }
  if (context.input(1).shape != context.input(2).shape)
    return context.Fail("scale and bias must have one shape");
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::GroupNorm({x, context.input(1), context.input(2), y, groups,
                           static_cast<double>(context.node().Float("epsilon", 1e-5F))});
  return Ok();
}

Status RunInstanceNorm(RunContext& context) {
  const Shape& shape = context.input(0).shape;
  if (shape.rank() >= 2 && shape[1] == 0) return context.Forward(0, 0, shape);
  return RunGroupNormWith(context, shape.rank() >= 2 ? shape[1] : 0);
}

Status RunGroupNorm(RunContext& context) {
  return RunGroupNormWith(context, context.node().Int("num_groups", 0));
}

// ---- LpNormalization, MeanVarianceNormalization, LRN ----

Status InferFloatSame(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes));
  return InferSame(context);
}

Status RunLpNorm(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", -1), x.shape.rank()));
  const int64_t p = context.node().Int("p", 2);
  if (p != 1 && p != 2) return context.Fail("p must be 1 or 2");
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::LpNorm({x, y, axis, static_cast<int>(p)});
  return Ok();
}

Status RunMeanVarianceNorm(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  uint32_t axes = 0;
  static constexpr int64_t kDefaultAxes[] = {0, 2, 3};
  const std::span<const int64_t> list = context.node().Has("axes")
                                            ? context.node().Ints("axes")
                                            : std::span<const int64_t>(kDefaultAxes);
  for (const int64_t axis : list) axes |= 1u << TRY(NormalAxis(context, axis, x.shape.rank()));
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::MeanVarianceNorm({x, y, axes});
  return Ok();
}

Status RunLrn(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int64_t size = context.node().Int("size", 0);
  if (size < 1 || x.shape.rank() < 2)
    return context.Fail("needs channels and a size of at least 1");
  TRY(context.TakeWork(Operations({x.shape.elements(), size})));
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::Lrn({.x = x,
                     .y = y,
                     .size = size,
                     .alpha = static_cast<double>(context.node().Float("alpha", 1e-4F)),
                     .beta = static_cast<double>(context.node().Float("beta", 0.75F)),
                     .bias = static_cast<double>(context.node().Float("bias", 1.0F))});
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"LayerNormalization", 1, 2, 3, 1, 3, kNoTraits, InferLayerNorm, RunLayerNorm<false>},
    {"RMSNormalization", 23, 2, 2, 1, 1, kNoTraits, InferLayerNorm, RunLayerNorm<true>},
    {"BatchNormalization", 7, 5, 5, 1, 3, kNoTraits, InferBatchNorm, RunBatchNorm},
    {"InstanceNormalization", 6, 3, 3, 1, 1, kNoTraits, InferGroupNorm, RunInstanceNorm},
    {"GroupNormalization", 18, 3, 3, 1, 1, kNoTraits, InferGroupNorm, RunGroupNorm},
    {"LpNormalization", 1, 1, 1, 1, 1, kNoTraits, InferFloatSame, RunLpNorm},
    {"MeanVarianceNormalization", 9, 1, 1, 1, 1, kNoTraits, InferFloatSame, RunMeanVarianceNorm},
    {"LRN", 1, 1, 1, 1, 1, kNoTraits, InferFloatSame, RunLrn},
});

}  // namespace

std::span<const OpDef> NormOps() {
  return kOps;
}

}  // namespace sluice::graph

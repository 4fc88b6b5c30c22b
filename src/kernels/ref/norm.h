// Reference normalisations. Statistics in double, one rounding at the end. All tensors of an op
// share one float dtype unless said; optional tensors have no data.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// Over the axes [axis, rank) of x. scale and bias (optional) broadcast to x.shape from the right
// and may have another float dtype than x. mean and inv_std (optional) hold one element per row, in
// their own float dtype.
struct LayerNormArgs {
  ConstView x;
  ConstView scale;
  ConstView bias;
  View y;
  View mean = {};
  View inv_std = {};
  int axis = -1;
  double epsilon = 1e-5;
  bool rms = false;  // RMSNormalization: no mean is subtracted
};
void LayerNorm(const LayerNormArgs& args);

// x [N, C, ...]; scale, bias, mean, var [C] of any float dtype. With `training`, mean and var are
// of this batch (population variance) and running_* = running * momentum + batch * (1 - momentum).
struct BatchNormArgs {
  ConstView x;
  ConstView scale;
  ConstView bias;
  ConstView mean;
  ConstView var;
  View y;
  double epsilon = 1e-5;
  bool training = false;
  double momentum = 0.9;
  View running_mean = {};
  View running_var = {};
};
void BatchNorm(const BatchNormArgs& args);

// x [N, C, ...], statistics over groups of C / groups channels and everything behind them. groups =
// C is InstanceNormalization. scale and bias hold C elements (per channel) or `groups` elements
// (per group, opset 18).
struct GroupNormArgs {
  ConstView x;
  ConstView scale;
  ConstView bias;
  View y;
  int64_t groups = 1;
  double epsilon = 1e-5;
};
void GroupNorm(const GroupNormArgs& args);

// x / ||x||_p along `axis`, p 1 or 2; a row of norm 0 gives 0.
struct LpNormArgs {
  ConstView x;
  View y;
  int axis = -1;
  int p = 2;
};
void LpNorm(const LpNormArgs& args);

// (x - mean) / (std + 1e-9) over the axes whose bit is set: MeanVarianceNormalization.
struct MeanVarianceNormArgs {
  ConstView x;
  View y;
  uint32_t axes = 0;
};
void MeanVarianceNorm(const MeanVarianceNormArgs& args);

// x [N, C, ...]: x / (bias + alpha / size * sum of squares over `size` channels around)^beta.
struct LrnArgs {
  ConstView x;
  View y;
  int64_t size = 1;
  double alpha = 1e-4;
  double beta = 0.75;
  double bias = 1;
};
void Lrn(const LrnArgs& args);

}  // namespace sluice::kernels::ref

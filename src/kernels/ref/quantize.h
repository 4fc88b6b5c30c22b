// Reference quantisation: linear, per tensor, per axis or blocked, and dynamic.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// How scale and zero point lie over x. One element: per tensor. block == 0: one per index of
// `axis`. block > 0: scale has x's shape with the extent of `axis` divided by block, rounded up.
struct QuantGrid {
  int axis = 1;
  int64_t block = 0;
};

// y = saturate(round_half_even(x / scale) + zero), y an integer of at most 16 bits. To a narrow
// float: y = round(x / scale + zero), beyond its range as `saturate` says. zero (optional) has y's
// dtype.
struct QuantizeLinearArgs {
  ConstView x;
  ConstView scale;
  ConstView zero;
  View y;
  QuantGrid grid;
  bool saturate = true;
};
void QuantizeLinear(const QuantizeLinearArgs& args);

// y = (x - zero) * scale, y of a float dtype.
struct DequantizeLinearArgs {
  ConstView x;
  ConstView scale;
  ConstView zero;
  View y;
  QuantGrid grid;
};
void DequantizeLinear(const DequantizeLinearArgs& args);

// u8 with the range widened to hold 0: scale (f32, one element), zero (u8, one element).
struct DynamicQuantizeArgs {
  ConstView x;
  View y;
  View scale;
  View zero;
};
void DynamicQuantize(const DynamicQuantizeArgs& args);

}  // namespace sluice::kernels::ref

// Softmax and log-softmax over rows of f32, with scale and additive mask fused. A row's bits depend
// on that row alone.
#pragma once

#include <cstdint>

#include "kernels/work.h"

namespace sluice::kernels {

// y = softmax(scale * x + mask) along the columns. Row (o, m, i) of [outer, middle, inner] rows is
// row (o * middle + m) * inner + i of x and y and takes the mask at o * mask_outer + m *
// mask_middle + i * mask_inner (0 broadcasts): a [B, 1, 1, T] mask over [B, H, S, T] scores has
// outer = B, middle = H, inner = S, mask_outer = T. y may be x. A row that is all -inf gives NaN.
struct RowSoftmaxArgs {
  int64_t outer = 1;
  int64_t middle = 1;
  int64_t inner = 0;
  int64_t columns = 0;       // at least 1
  const float* x = nullptr;  // [outer, middle, inner, columns]
  float* y = nullptr;        // the same
  float scale = 1;
  const float* mask = nullptr;  // optional
  int64_t mask_outer = 0, mask_middle = 0, mask_inner = 0;
  bool log = false;
};
int64_t RowSoftmaxTiles(const RowSoftmaxArgs& args);
void RowSoftmax(const RowSoftmaxArgs& args, Tiles tiles);
Work RowSoftmaxWork(const RowSoftmaxArgs& args);

}  // namespace sluice::kernels

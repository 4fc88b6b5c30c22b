// The gate of a two-armed feed-forward layer: y = act(gate) * up (N. Shazeer, "GLU Variants Improve
// Transformer", 2020).
//
// An element's bits depend on its two operands alone.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/work.h"

namespace sluice::kernels {

// y[i, j] = act(x[i, j]) * x[i, columns + j]: both arms come from one product.
struct GatedRowsArgs {
  int64_t rows = 0;
  int64_t columns = 0;       // of y
  const float* x = nullptr;  // rows `x_stride` floats apart
  int64_t x_stride = 0;
  float* y = nullptr;  // rows `y_stride` floats apart; does not overlap x
  int64_t y_stride = 0;
  Activation activation = Activation::kSilu;
};
int64_t GatedRowsTiles(const GatedRowsArgs& args);
void GatedRows(const GatedRowsArgs& args, Tiles tiles);
Work GatedRowsWork(const GatedRowsArgs& args);

}  // namespace sluice::kernels

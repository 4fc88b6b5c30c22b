// LayerNorm and RMSNorm over rows of f32, with the residual add before it fused.
//
// A row's bits depend on that row alone. Moments are taken in two passes over a row that stays in
// L1.
#pragma once

#include <cstdint>

#include "kernels/low_gemm.h"
#include "kernels/work.h"

namespace sluice::kernels {

// y = (t - mean(t)) / sqrt(var(t) + epsilon) * scale + bias, t = x + residual; with `rms` neither
// mean nor its square is subtracted. Strides count floats between rows. y may be x or residual.
struct RowNormArgs {
  int64_t rows = 0;
  int64_t columns = 0;       // at least 1
  const float* x = nullptr;  // [rows, columns]
  int64_t x_stride = 0;
  const float* residual = nullptr;  // [rows, columns], optional
  int64_t residual_stride = 0;
  const float* scale = nullptr;  // [columns], optional
  const float* bias = nullptr;   // [columns], optional
  float* y = nullptr;            // [rows, columns]
  int64_t y_stride = 0;
  float* sum = nullptr;  // [rows, columns], optional: t itself, which the next residual needs
  int64_t sum_stride = 0;
  float epsilon = 1e-5f;
  bool rms = false;
  // Where set, y's rows prepared for a product of `prepared_path` as well: kernels/low_gemm.h.
  LowRows prepared;
  LowPath prepared_path = LowPath::kWords;
};
int64_t RowNormTiles(const RowNormArgs& args);
void RowNorm(const RowNormArgs& args, Tiles tiles);
Work RowNormWork(const RowNormArgs& args);

// y = x / max(sqrt(sum of squares), epsilon): torch.nn.functional.normalize. y may be x.
struct RowL2NormArgs {
  int64_t rows = 0;
  int64_t columns = 0;       // at least 1
  const float* x = nullptr;  // [rows, columns]
  float* y = nullptr;        // [rows, columns]
  float epsilon = 1e-12f;
};
int64_t RowL2NormTiles(const RowL2NormArgs& args);
void RowL2Norm(const RowL2NormArgs& args, Tiles tiles);
Work RowL2NormWork(const RowL2NormArgs& args);

}  // namespace sluice::kernels

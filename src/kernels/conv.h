// Convolutions over images in f32, channels last: pixel (b, i, j) of an image is a run of channels.
//
// Every output element is one chain of fused multiply-adds over the window's rows, its columns and
// the channels, in this order, from zero; taps outside of the image count as zeros. Bias, residual
// and activation follow, each rounded once. Nothing else changes its bits: neither the batch nor
// the tile nor the target.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "kernels/work.h"

namespace sluice::kernels {

// Where windows lie: output (i, j) sees input (i * stride_rows - pad_top + r * dilation_rows, …)
// for r < kernel_rows. One spatial axis is an image of one row. All extents are at least 1.
struct ImageWindow {
  int64_t batch = 1;
  int64_t rows = 1;  // of x
  int64_t columns = 1;
  int64_t out_rows = 1;
  int64_t out_columns = 1;
  int64_t kernel_rows = 1;
  int64_t kernel_columns = 1;
  int64_t stride_rows = 1;
  int64_t stride_columns = 1;
  int64_t dilation_rows = 1;
  int64_t dilation_columns = 1;
  int64_t pad_top = 0;
  int64_t pad_left = 0;

  int64_t pixels() const { return batch * out_rows * out_columns; }
  int64_t taps() const { return kernel_rows * kernel_columns; }
};

// y [pixels, weight.n] = act(windows of x [batch, rows, columns, channels] times weight + bias [n]
// + residual [pixels, n]). Pixels of x, residual and y lie `…_pixel` elements apart, so that a
// group or a slice of the channels is one too. y overlaps neither x nor residual.
struct ConvArgs {
  ImageWindow window;
  int64_t channels = 0;
  const float* x = nullptr;
  int64_t x_pixel = 0;
  PackedMatrix weight;  // [kernel_rows * kernel_columns * channels, n]
  const float* bias = nullptr;
  const float* residual = nullptr;
  int64_t residual_pixel = 0;
  float* y = nullptr;
  int64_t y_pixel = 0;
  Activation activation = Activation::kNone;
};
int64_t ConvTiles(const ConvArgs& args);
void Conv(const ConvArgs& args, Tiles tiles);
Work ConvWork(const ConvArgs& args);

// Each channel by itself: weight [taps, channels].
struct DepthwiseArgs {
  ImageWindow window;
  int64_t channels = 0;
  const float* x = nullptr;
  int64_t x_pixel = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float* y = nullptr;
  int64_t y_pixel = 0;
  Activation activation = Activation::kNone;
};
int64_t DepthwiseTiles(const DepthwiseArgs& args);
void Depthwise(const DepthwiseArgs& args, Tiles tiles);
Work DepthwiseWork(const DepthwiseArgs& args);

}  // namespace sluice::kernels

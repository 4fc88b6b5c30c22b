// Pools over images in f32, channels last: the largest element or the mean of each window, channel
// by channel.
//
// A mean sums each row of the window in order, then the rows, then divides. Padding counts for
// neither, but may count as pixels of the mean. NaN wins a maximum.
#pragma once

#include <cstdint>

#include "kernels/conv.h"
#include "kernels/work.h"

namespace sluice::kernels {

enum class ImagePool : uint8_t { kMax, kMean };

// x [batch, rows, columns, channels] -> y [batch, out_rows, out_columns, channels]; pixels lie
// `…_pixel` elements apart.
struct PoolArgs {
  ImagePool op = ImagePool::kMax;
  ImageWindow window;
  // kMean: pixels of padding behind the end that count, where `count_padding`.
  bool count_padding = false;
  int64_t pad_bottom = 0;
  int64_t pad_right = 0;
  int64_t channels = 0;
  const float* x = nullptr;
  int64_t x_pixel = 0;
  float* y = nullptr;
  int64_t y_pixel = 0;
};
int64_t PoolTiles(const PoolArgs& args);
void Pool(const PoolArgs& args, Tiles tiles);
Work PoolWork(const PoolArgs& args);

}  // namespace sluice::kernels

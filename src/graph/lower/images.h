// Images in channels-last memory: how the window kernels want a [N, C, spatial…] value to lie.
#pragma once

#include <cstdint>

#include "graph/lower/lowering.h"

namespace sluice::graph {

// Where the pixels of a value lie: channels side by side, pixels `pixel` elements apart, in order.
struct Pixels {
  Ref ref;
  int64_t pixel = 0;
};

// The strides of [N, C, spatial…] with its channels last.
void SetChannelsLastStrides(const tensor::Shape& shape, int64_t pixel, Place& place);
// The pixel stride of a value that lies with its channels last, 0 of others.
int64_t PixelStride(const tensor::Shape& shape, const Place& place);
// The value with its channels last; it is copied there when it lies otherwise, and stays there.
// f32, rank 3 or 4.
Pixels ChannelsLast(Lowering& lowering, const Value* value);
// New channels-last memory for an output.
Pixels DefineChannelsLast(Lowering& lowering, const Value* value);

}  // namespace sluice::graph

// The window that the attributes of a convolution or pool describe, at a concrete input: for the
// lowering.
#pragma once

#include <cstdint>
#include <optional>

#include "graph/ir.h"
#include "kernels/ref/window.h"
#include "tensor/shape.h"

namespace sluice::graph {

struct WindowAt {
  int spatial = 0;
  kernels::ref::Window window;  // pads of auto_pad are filled in
  int64_t pad_end[kernels::ref::kMaxSpatial] = {};
  int64_t extent[kernels::ref::kMaxSpatial] = {};  // of the output
};
// `node` has its kernel_shape, `x` is [N, C, spatial…]. nullopt when the window does not fit.
std::optional<WindowAt> FindWindow(const Node& node, const tensor::Shape& x);

}  // namespace sluice::graph

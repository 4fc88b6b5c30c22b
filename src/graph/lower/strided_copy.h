// Copies a strided view to packed memory: what a lazily transposed, sliced or broadcast value costs
// once a kernel needs it packed.
#pragma once

#include <cstdint>

#include "graph/lower/place.h"
#include "kernels/work.h"

namespace sluice::graph {

// dst packed = src strided. Extents are outermost first and already merged (MakeStridedCopy).
struct StridedCopyArgs {
  const void* src = nullptr;
  void* dst = nullptr;
  int32_t rank = 0;  // at least 2; the two innermost axes are one tile's
  int32_t element_bytes = 4;
  int64_t extents[tensor::kMaxRank + 1] = {};
  int64_t strides[tensor::kMaxRank + 1] = {};  // elements, of src
};

StridedCopyArgs MakeStridedCopy(const tensor::Shape& shape, const Place& place,
                                int64_t element_bytes);
int64_t StridedCopyTiles(const StridedCopyArgs& args);
void StridedCopy(const void* args, kernels::Tiles tiles);
kernels::Work StridedCopyWork(const StridedCopyArgs& args);

}  // namespace sluice::graph

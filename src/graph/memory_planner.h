// Assigns offsets in one arena to buffers with known lifetimes, so that buffers that live at the
// same time never overlap.
#pragma once

#include <cstdint>
#include <span>

namespace sluice::graph {

// A buffer that is live from step `first` to step `last`, both included.
struct BufferLife {
  int64_t bytes = 0;
  int32_t first = 0;
  int32_t last = 0;
  int64_t offset = 0;  // the planner's answer, a multiple of tensor::kAlignment
};

// Greedy by size: the largest buffer first, each into the smallest gap that its neighbours in time
// leave. Returns the bytes of the arena. After Pisarchyk and Lee, "Efficient Memory Management for
// Deep Neural Net Inference" (2020).
int64_t PlanMemory(std::span<BufferLife> buffers);

}  // namespace sluice::graph

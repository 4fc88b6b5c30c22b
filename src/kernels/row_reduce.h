// Reductions of f32 along one axis, and the masked mean that pools token embeddings.
//
// The order of a sum depends on the extent of the axis (and whether it is the last), never on what
// lies around it.
#pragma once

#include <cstdint>

#include "kernels/work.h"

namespace sluice::kernels {

// y [outer, inner] = op over the middle axis of x [outer, extent, inner]. Max and min propagate
// NaN. An empty axis gives 0 (also for the mean, as ONNX Runtime), -inf for max, +inf for min.
enum class RowReduceOp : uint8_t { kSum, kMean, kMax, kMin, kSumSquares, kL1 };
struct RowReduceArgs {
  RowReduceOp op = RowReduceOp::kSum;
  int64_t outer = 0;
  int64_t extent = 0;
  int64_t inner = 1;
  const float* x = nullptr;
  float* y = nullptr;
};
int64_t RowReduceTiles(const RowReduceArgs& args);
void RowReduce(const RowReduceArgs& args, Tiles tiles);
Work RowReduceWork(const RowReduceArgs& args);

// y [batch, columns] = sum over s of mask[b, s] * x[b, s, :] / max(sum over s of mask[b, s],
// epsilon). Steps whose mask is 0 are not read, so padding changes no bit.
struct MaskedMeanArgs {
  int64_t batch = 0;
  int64_t length = 0;
  int64_t columns = 0;
  const float* x = nullptr;     // [batch, length, columns]
  const float* mask = nullptr;  // [batch, length]
  float* y = nullptr;
  float epsilon = 1e-9f;
};
int64_t MaskedMeanTiles(const MaskedMeanArgs& args);
void MaskedMean(const MaskedMeanArgs& args, Tiles tiles);
Work MaskedMeanWork(const MaskedMeanArgs& args);

}  // namespace sluice::kernels

// Pooling and running sums over packed rows: segment b is rows [starts[b], starts[b + 1]).
//
// Rows of a segment are added in their order, so a segment's bits depend on its own rows alone.
#pragma once

#include <cstdint>

#include "kernels/work.h"

namespace sluice::kernels {

enum class SegmentMode : uint8_t { kSum, kMax, kFirst };

// y [segments, columns] from x [rows, columns]. Of an empty segment: 0, for the maximum -inf. NaN
// propagates.
struct SegmentReduceArgs {
  SegmentMode mode = SegmentMode::kSum;
  int64_t segments = 0;
  int64_t rows = 0;  // of x, for predictions; starts[segments] is at most this
  int64_t columns = 0;
  const int32_t* starts = nullptr;  // [segments + 1], ascending from 0; checked by the caller
  const float* x = nullptr;
  float* y = nullptr;
};
int64_t SegmentReduceTiles(const SegmentReduceArgs& args);
void SegmentReduce(const SegmentReduceArgs& args, Tiles tiles);
Work SegmentReduceWork(const SegmentReduceArgs& args);

// y[b] = rows of segment b, as f32 or int64.
struct SegmentLengthsArgs {
  int64_t segments = 0;
  bool integer = false;
  const int32_t* starts = nullptr;
  void* y = nullptr;
};
void SegmentLengths(const SegmentLengthsArgs& args);

// y[r] = sum of x over the rows of r's segment up to and including r; 0 behind the last segment.
// int64 or int32.
struct SegmentSumsArgs {
  int64_t segments = 0;
  int64_t rows = 0;
  bool wide = true;
  const int32_t* starts = nullptr;
  const void* x = nullptr;
  void* y = nullptr;
};
void SegmentSums(const SegmentSumsArgs& args);

}  // namespace sluice::kernels

// Rotary position embedding: pairs of a row's elements turned by angles whose cosines and sines are
// given.
//
// A row's bits depend on that row and its angles alone.
#pragma once

#include <cstdint>

#include "kernels/work.h"

namespace sluice::kernels {

inline constexpr int kRotaryAxes = 3;  // outer axes of a row

// A row of the operand at index (i, j, k) of the outer axes begins at data[i * strides[0] + j *
// strides[1] + k * strides[2]]; its elements lie together. A stride of 0 broadcasts.
struct RotaryRows {
  const float* data = nullptr;
  int64_t strides[kRotaryAxes] = {};
};

// y[a] = x[a] cos[a] - x[b] sin[a], y[b] = x[b] cos[b] + x[a] sin[b] for the pairs (a, b) of the
// first `turned` elements: (i, i + turned / 2), or with `interleaved` (2 i, 2 i + 1). What is
// behind them is copied. y overlaps no operand.
struct RotaryArgs {
  int64_t extents[kRotaryAxes] = {1, 1, 1};
  int64_t width = 0;   // elements of a row
  int64_t turned = 0;  // even, at most width
  bool interleaved = false;
  bool by_pair = false;  // cos and sin have an element a pair, turned / 2, else one an element
  RotaryRows x, cos, sin;
  float* y = nullptr;
  int64_t y_strides[kRotaryAxes] = {};
};
int64_t RotaryTiles(const RotaryArgs& args);
void Rotary(const RotaryArgs& args, Tiles tiles);
Work RotaryWork(const RotaryArgs& args);

}  // namespace sluice::kernels

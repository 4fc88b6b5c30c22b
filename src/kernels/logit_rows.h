// Passes over one row of logits, as sampling needs them. A result depends on the row alone.
#pragma once

#include <cstdint>

namespace sluice::kernels {

// Elements of a block: sums are taken block by block, so that a draw can look for its block first.
inline constexpr int64_t kLogitBlock = 4096;

struct LogitMaximum {
  float value = 0;
  int64_t index = 0;  // the first where it stands
};
// NaN counts as less than everything; a row of NaN alone gives NaN at 0. n is at least 1.
LogitMaximum FindLogitMaximum(const float* x, int64_t n);

// sums[i] = the sum over block i of e^((x - shift) * scale), ceil(n / kLogitBlock) of them; for
// x <= shift and scale >= 0. NaN counts as -inf.
void SumLogitExps(const float* x, int64_t n, float shift, float scale, float* sums);
// y[i] = e^((x[i] - shift) * scale), the terms of the above. y may be x.
void LogitExps(const float* x, int64_t n, float shift, float scale, float* y);

// x[i] = cap * tanh(x[i] / cap).
void CapLogits(float* x, int64_t n, float cap);

// Indices of the elements above or at `threshold`, ascending; at most `capacity` are stored. How
// many there are.
int64_t CollectLogits(const float* x, int64_t n, float threshold, int32_t* indices,
                      int64_t capacity);

}  // namespace sluice::kernels

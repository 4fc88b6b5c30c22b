// Which taps of a window lie inside the image, for the files that are compiled once per target.
#pragma once

#include <cstdint>

#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

HWY_INLINE int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}
HWY_INLINE int64_t Max(int64_t a, int64_t b) {
  return a > b ? a : b;
}
// a / b rounded up, for a possibly negative and b positive.
HWY_INLINE int64_t CeilDiv(int64_t a, int64_t b) {
  return a <= 0 ? -(-a / b) : (a + b - 1) / b;
}

// Taps [low, high) of `count`, `step` apart, that lie within [0, extent) when the first is at
// `first`.
struct InsideTaps {
  int64_t low = 0;
  int64_t high = 0;
};
HWY_INLINE InsideTaps TapsInside(int64_t first, int64_t step, int64_t count, int64_t extent) {
  InsideTaps taps;
  if (step == 1) {
    taps.low = Min(count, Max(0, -first));
    taps.high = Max(taps.low, Min(count, extent - first));
    return taps;
  }
  taps.low = Min(count, Max(0, CeilDiv(-first, step)));
  taps.high = Max(taps.low, Min(count, CeilDiv(extent - first, step)));
  return taps;
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

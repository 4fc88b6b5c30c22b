// The per-target entry points of packing: what is found out about a column of weights, and its
// codes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace sluice::kernels {

// The element of the largest magnitude, the negative one of two; NaN where one is not finite.
SLUICE_DECLARE_ISA(float SignedPeak(const float* x, int64_t k))

// The magnitude that `peak` gets as a code where all elements become integers by the same scale,
// the greatest such one of [1, 127], or 128 for a negative peak; 0 where there is none.
SLUICE_DECLARE_ISA(int32_t ExactPeakCode(const float* x, int64_t k, float peak))

// codes[i] = x[i] * factor to the nearest integer, halves to even, within [-128, 127]; their sum.
SLUICE_DECLARE_ISA(int32_t EncodeColumn(const float* x, int64_t k, float factor, int8_t* codes))

// A column's place in the panels of kernels/block_int4.h.
struct Int4Lane {
  int64_t k = 0;      // a multiple of 32
  int64_t group = 0;  // as well
  bool minimum = false;
  std::byte* panel = nullptr;
  int64_t lane = 0;
};
// Quantises x [k] there. False, and nothing sensible is written, where an element is not finite.
SLUICE_DECLARE_ISA(bool PackInt4Lane(const float* x, const Int4Lane& at))

}  // namespace sluice::kernels

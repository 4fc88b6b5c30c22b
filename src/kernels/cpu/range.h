// The range of a run of floats, for quantising it. Compiled once per target.
#pragma once

#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

struct Range {
  float low, high;
  bool finite;  // all of them
};

// Of x [count] and, with kZero, of 0; without it `count` is at least a vector.
template <bool kZero>
Range FindRange(const float* x, int64_t count) {
  constexpr auto kVector = static_cast<int64_t>(sizeof(VF) / sizeof(float));
  const F32 d;
  const VF zero = hn::Zero(d);
  const VF first = kZero ? zero : hn::LoadU(d, x);
  VF low0 = first, low1 = first, high0 = first, high1 = first;
  VF odd0 = zero, odd1 = zero;  // stays 0 unless some x is inf or NaN
  const auto take = [&](VF v, VF& low, VF& high, VF& odd) HWY_ATTR {
    low = hn::Min(v, low);
    high = hn::Max(v, high);
    odd = hn::MulAdd(v, zero, odd);
  };
  int64_t i = 0;
  for (; i + 2 * kVector <= count; i += 2 * kVector) {
    take(hn::LoadU(d, x + i), low0, high0, odd0);
    take(hn::LoadU(d, x + i + kVector), low1, high1, odd1);
  }
  if (i + kVector <= count) {
    take(hn::LoadU(d, x + i), low0, high0, odd0);
    i += kVector;
  }
  if (i < count) {
    // The last whole vector of the run, or what is left of it among zeros.
    const auto left = static_cast<size_t>(count - i);
    take(kZero ? hn::MaskedLoad(hn::FirstN(d, left), d, x + i) : hn::LoadU(d, x + count - kVector),
         low0, high0, odd0);
  }
  return {hn::GetLane(hn::MinOfLanes(d, hn::Min(low0, low1))),
          hn::GetLane(hn::MaxOfLanes(d, hn::Max(high0, high1))),
          hn::GetLane(hn::SumOfLanes(d, hn::Add(odd0, odd1))) == 0.0f};
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

// Folds of a run of floats into one, for the files that are compiled once per target. Four
// accumulators hide the latency of the adds; the order depends on the length alone.
#pragma once

#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// step(i, from(i)) for every vector at i; the last one partial, with zeros behind the end and
// `rest` its mask. load(i) and load_part(i, mask) read vectors; fold(acc, v) and fold_part(acc, v,
// mask) take them in.
template <class Load, class LoadPart, class Fold, class FoldPart>
HWY_INLINE VF FoldRun(int64_t n, VF start, Load load, LoadPart load_part, Fold fold,
                      FoldPart fold_part, VF* others) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  VF a0 = start, a1 = start, a2 = start, a3 = start;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a0 = fold(a0, load(i));
    a1 = fold(a1, load(i + lanes));
    a2 = fold(a2, load(i + 2 * lanes));
    a3 = fold(a3, load(i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a0 = fold(a0, load(i));
  if (i < n) {
    const auto rest = hn::FirstN(d, static_cast<size_t>(n - i));
    a1 = fold_part(a1, load_part(i, rest), rest);
  }
  others[0] = a1;
  others[1] = a2;
  others[2] = a3;
  return a0;
}

// Sum over i of f(load(i)); f(0) in the lanes behind the end is dropped.
template <class Load, class LoadPart, class F>
HWY_INLINE float SumRun(int64_t n, Load load, LoadPart load_part, F f) {
  const F32 d;
  VF others[3];
  const VF a0 = FoldRun(
      n, hn::Zero(d), load, load_part, [&](VF acc, VF v) HWY_ATTR { return hn::Add(acc, f(v)); },
      [&](VF acc, VF v, auto rest)
          HWY_ATTR { return hn::Add(acc, hn::IfThenElseZero(rest, f(v))); },
      others);
  const VF sum = hn::Add(hn::Add(a0, others[0]), hn::Add(others[1], others[2]));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// Largest of load(i); a NaN may be lost.
template <class Load, class LoadPart>
HWY_INLINE float MaxRun(int64_t n, Load load, LoadPart load_part) {
  const F32 d;
  const VF low = hn::Neg(hn::Inf(d));
  VF others[3];
  const VF a0 = FoldRun(
      n, low, load, load_part, [](VF acc, VF v) HWY_ATTR { return hn::Max(acc, v); },
      [low](VF acc, VF v, auto rest)
          HWY_ATTR { return hn::Max(acc, hn::IfThenElse(rest, v, low)); },
      others);
  return hn::GetLane(
      hn::MaxOfLanes(d, hn::Max(hn::Max(a0, others[0]), hn::Max(others[1], others[2]))));
}

// y[i] = f(i, x[i]) where x is read by load and load_part.
template <class Load, class LoadPart, class F>
HWY_INLINE void MapRun(int64_t n, Load load, LoadPart load_part, float* y, F f) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(load(i)), d, y + i);
  if (i == n) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(n - i));
  hn::BlendedStore(f(load_part(i, rest)), rest, d, y + i);
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

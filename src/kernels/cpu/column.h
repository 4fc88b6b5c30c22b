// Rows times a matrix of one column, for the files that are compiled once per target: 16 chains of
// fused multiply-adds side by side (element k belongs to chain k mod 16), then added in pairs, on
// every target alike.
#pragma once

#include <cstdint>

#include "kernels/cpu/micro.h"
#include "kernels/gemm.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// Vectors that hold the 16 chains.
constexpr int kChainVectors = 16 / kLanes;

// The sum of the chains.
template <int kVectors>
HWY_INLINE float SumOfChains(const VF (&acc)[kVectors]) {
  const hn::FixedTag<float, 8> half;
  if constexpr (kVectors == 1) {
    const auto pairs = hn::Add(hn::LowerHalf(half, acc[0]), hn::UpperHalf(half, acc[0]));
    return hn::GetLane(hn::SumOfLanes(half, pairs));
  } else {
    return hn::GetLane(hn::SumOfLanes(half, hn::Add(acc[0], acc[1])));
  }
}

// x[i] = a[i, :] times b [k, 1] for i < kRows; PackMatrix has laid the column behind its panel's
// first half, vector by vector.
template <int kRows>
HWY_INLINE void ColumnDots(const float* a, int64_t a_row, const PackedMatrix& b, float* x) {
  const F32 d;
  VF acc[kRows][kChainVectors];
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
    Unroll<kChainVectors>([&](auto v) __attribute__((always_inline)) { acc[i][v] = hn::Zero(d); });
  });
  const float* column = b.data + kLanes;
  int64_t k = 0;
  for (; k + 16 <= b.k; k += 16) {
    Unroll<kChainVectors>([&](auto v) __attribute__((always_inline)) {
      const VF w = hn::Load(d, column + v * kPanel);
      Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
        acc[i][v] = hn::MulAdd(hn::LoadU(d, a + i * a_row + k + v * kLanes), w, acc[i][v]);
      });
    });
    column += kChainVectors * kPanel;
  }
  for (int v = 0; k < b.k; k += kLanes, ++v, column += kPanel) {
    const auto rest = hn::FirstN(d, static_cast<size_t>(b.k - k < kLanes ? b.k - k : kLanes));
    const VF w = hn::Load(d, column);
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      const VF part = hn::MaskedLoad(rest, d, a + i * a_row + k);
      if constexpr (kChainVectors == 1) {
        acc[i][0] = hn::MulAdd(part, w, acc[i][0]);
      } else if (v == 0) {
        acc[i][0] = hn::MulAdd(part, w, acc[i][0]);
      } else {
        acc[i][1] = hn::MulAdd(part, w, acc[i][1]);
      }
    });
  }
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) { x[i] = SumOfChains(acc[i]); });
}

// x[i] = a[i, :] times b [k, 1] for i < rows.
inline void ColumnProduct(const float* a, int64_t a_row, int64_t rows, const PackedMatrix& b,
                          float* x) {
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) ColumnDots<4>(a + i * a_row, a_row, b, x + i);
  for (; i < rows; ++i) ColumnDots<1>(a + i * a_row, a_row, b, x + i);
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

// Copies blocks of activations into the layout of the inner loop (micro.h), per target.
#pragma once

#include "kernels/cpu/micro.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// Copies A [rows, depth] times `alpha` to `strip`, rows kStripStride apart. Element (i, k) is a[i *
// a_row + k * a_column].
inline void PackStrip(const float* a, int64_t a_row, int64_t a_column, int64_t rows, int64_t depth,
                      float alpha, float* strip) {
  const F32 d;
  const VF factor = hn::Set(d, alpha);
  for (int64_t i = 0; i < rows; ++i) {
    const float* const from = a + i * a_row;
    float* const to = strip + i * kStripStride;
    int64_t k = 0;
    if (a_column == 1) {
      for (; k + kLanes <= depth; k += kLanes) {
        hn::Store(hn::Mul(hn::LoadU(d, from + k), factor), d, to + k);
      }
    }
    for (; k < depth; ++k) to[k] = from[k * a_column] * alpha;
  }
}

// 128-bit block i of the result is the four floats at from + i * 4 * step.
template <class D>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, const float* from, int64_t step) {
  if constexpr (sizeof(hn::Vec<D>) == 16) {
    return hn::LoadU(d, from);
  } else {
    const hn::Half<D> half;
    const int64_t blocks = static_cast<int64_t>(sizeof(hn::Vec<D>)) / 32;
    return hn::Combine(d, LoadBlocks(half, from + blocks * 4 * step, step),
                       LoadBlocks(half, from, step));
  }
}

// to [4, kLanes], rows kPanel apart: the transpose of kLanes rows of four floats, `step` apart.
HWY_INLINE void TransposeFour(const float* from, int64_t step, float* to) {
  const F32 d;
  const hn::Repartition<uint64_t, F32> d64;
  const VF r0 = LoadBlocks(d, from, step);
  const VF r1 = LoadBlocks(d, from + step, step);
  const VF r2 = LoadBlocks(d, from + 2 * step, step);
  const VF r3 = LoadBlocks(d, from + 3 * step, step);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
  hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, to);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, to + kPanel);
  hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, to + 2 * kPanel);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, to + 3 * kPanel);
}

// Packs B [depth, columns] into panels, each [depth, kPanel], the last padded with zeros. Element
// (k, j) is b[k * b_row + j * b_column].
inline void PackBlock(const float* b, int64_t b_row, int64_t b_column, int64_t depth,
                      int64_t columns, float* block) {
  const F32 d;
  for (int64_t j0 = 0; j0 < columns; j0 += kPanel, block += depth * kPanel) {
    const float* const from = b + j0 * b_column;
    const int64_t width = columns - j0 < kPanel ? columns - j0 : kPanel;
    if (b_column == 1 && width == kPanel) {
      for (int64_t k = 0; k < depth; ++k) {
        hn::Store(hn::LoadU(d, from + k * b_row), d, block + k * kPanel);
        hn::Store(hn::LoadU(d, from + k * b_row + kLanes), d, block + k * kPanel + kLanes);
      }
      continue;
    }
    int64_t k = 0;
    if (b_row == 1 && width == kPanel) {
      for (; k + 4 <= depth; k += 4) {
        TransposeFour(from + k, b_column, block + k * kPanel);
        TransposeFour(from + k + kLanes * b_column, b_column, block + k * kPanel + kLanes);
      }
    }
    for (; k < depth; ++k) {
      for (int64_t j = 0; j < width; ++j) block[k * kPanel + j] = from[k * b_row + j * b_column];
      for (int64_t j = width; j < kPanel; ++j) block[k * kPanel + j] = 0.0f;
    }
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

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

// 128-bit block i of the result is four floats of row first + 4 * i; row(j) is the address of row
// j.
template <class D, class Row>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, int64_t first, Row row) {
  if constexpr (sizeof(hn::Vec<D>) == 16) {
    return hn::LoadU(d, row(first));
  } else {
    const hn::Half<D> half;
    constexpr int64_t kRows = static_cast<int64_t>(sizeof(hn::Vec<D>)) / 8;
    return hn::Combine(d, LoadBlocks(half, first + kRows, row), LoadBlocks(half, first, row));
  }
}

// to [4, kLanes], rows kPanel apart: the transpose of four floats of each of the rows first … first
// + kLanes - 1.
template <class Row>
HWY_INLINE void TransposeFour(int64_t first, Row row, float* to) {
  const F32 d;
  const hn::Repartition<uint64_t, F32> d64;
  const VF r0 = LoadBlocks(d, first, row);
  const VF r1 = LoadBlocks(d, first + 1, row);
  const VF r2 = LoadBlocks(d, first + 2, row);
  const VF r3 = LoadBlocks(d, first + 3, row);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
  hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, to);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, to + kPanel);
  hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, to + 2 * kPanel);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, to + 3 * kPanel);
}

// One panel of `width` columns from rows of B that lie side by side.
inline void PackPanelOfRows(const float* b, int64_t b_row, int64_t depth, int64_t width,
                            float* panel) {
  const F32 d;
  const int64_t low = width < kLanes ? width : kLanes;
  const auto low_mask = hn::FirstN(d, static_cast<size_t>(low));
  const auto high_mask = hn::FirstN(d, static_cast<size_t>(width - low));
  for (int64_t k = 0; k < depth; ++k, b += b_row, panel += kPanel) {
    hn::Store(hn::MaskedLoad(low_mask, d, b), d, panel);
    // A load that is masked out entirely still wants an address inside the row.
    hn::Store(width > kLanes ? hn::MaskedLoad(high_mask, d, b + kLanes) : hn::Zero(d), d,
              panel + kLanes);
  }
}

// One panel of `width` columns from B stored by columns, each contiguous: a transpose. Columns that
// the panel lacks repeat its last one; nobody stores what they give.
inline void PackPanelOfColumns(const float* b, int64_t b_column, int64_t depth, int64_t width,
                               float* panel) {
  const auto column = [&](int64_t j) { return b + (j < width ? j : width - 1) * b_column; };
  int64_t k = 0;
  for (; k + 4 <= depth; k += 4) {
    const auto row = [&](int64_t j) { return column(j) + k; };
    const auto full = [&](int64_t j) { return b + j * b_column + k; };
    for (int64_t j = 0; j < kPanel; j += kLanes) {
      if (width == kPanel) {
        TransposeFour(j, full, panel + k * kPanel + j);
      } else {
        TransposeFour(j, row, panel + k * kPanel + j);
      }
    }
  }
  for (; k < depth; ++k) {
    for (int64_t j = 0; j < kPanel; ++j) panel[k * kPanel + j] = column(j)[k];
  }
}

// Packs B [depth, columns] into panels, each [depth, kPanel]. Element (k, j) is b[k * b_row + j *
// b_column]. What pads the last panel is arbitrary.
inline void PackBlock(const float* b, int64_t b_row, int64_t b_column, int64_t depth,
                      int64_t columns, float* block) {
  for (int64_t j0 = 0; j0 < columns; j0 += kPanel, block += depth * kPanel) {
    const float* const from = b + j0 * b_column;
    const int64_t width = columns - j0 < kPanel ? columns - j0 : kPanel;
    if (b_column == 1) {
      PackPanelOfRows(from, b_row, depth, width, block);
    } else if (b_row == 1) {
      PackPanelOfColumns(from, b_column, depth, width, block);
    } else {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t j = 0; j < kPanel; ++j) {
          const int64_t from_j = j < width ? j : width - 1;
          block[k * kPanel + j] = from[k * b_row + from_j * b_column];
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

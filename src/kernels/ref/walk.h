// Walks several strided operands over one index space, row by row, with the dimensions that can be
// merged merged. All reference kernels that broadcast, transpose or slice are loops over such a
// walk.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "tensor/shape.h"

namespace sluice::kernels::ref {

using tensor::kMaxRank;
using tensor::Shape;

// Row-major strides of `shape` in elements.
inline void DenseStrides(const Shape& shape, int64_t (&strides)[kMaxRank]) {
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
}

// Strides with which `from` is read when broadcast to `to` from the right: 0 along a repeated axis.
inline void BroadcastStrides(const Shape& from, const Shape& to, int64_t (&strides)[kMaxRank]) {
  CHECK_LE(from.rank(), to.rank());
  int64_t stride = 1;
  for (int i = to.rank() - 1, j = from.rank() - 1; i >= 0; --i, --j) {
    const int64_t extent = j >= 0 ? from[j] : 1;
    CHECK(extent == to[i] || extent == 1)
        << from.ToString() << " does not broadcast to " << to.ToString();
    strides[i] = extent == 1 ? 0 : stride;
    stride *= extent;
  }
}

// K operands over `rank` merged dimensions; strides and offsets in elements.
template <int K>
struct Walk {
  int rank = 0;
  bool empty = false;
  int64_t extent[kMaxRank] = {};
  int64_t stride[K][kMaxRank] = {};
  int64_t offset[K] = {};

  // Appends an inner dimension, or merges it into the last one where every operand allows it.
  void Append(int64_t n, const int64_t (&s)[K]) {
    if (n == 0) empty = true;
    if (n == 1) return;
    bool merge = rank > 0;
    for (int k = 0; k < K && merge; ++k) merge = stride[k][rank - 1] == s[k] * n;
    if (!merge) {
      CHECK_LT(rank, kMaxRank);
      extent[rank++] = 1;
    }
    extent[rank - 1] *= n;
    for (int k = 0; k < K; ++k) stride[k][rank - 1] = s[k];
  }

  // Calls row(offsets, n, strides) for every run along the innermost dimension, in order.
  template <class F>
  void Rows(F&& row) const {
    if (empty) return;
    int64_t at[K];
    int64_t inner[K];
    for (int k = 0; k < K; ++k) {
      at[k] = offset[k];
      inner[k] = rank > 0 ? stride[k][rank - 1] : 0;
    }
    const int64_t n = rank > 0 ? extent[rank - 1] : 1;
    int64_t index[kMaxRank] = {};
    while (true) {
      row(at, n, inner);
      int d = rank - 2;
      for (; d >= 0; --d) {
        for (int k = 0; k < K; ++k) at[k] += stride[k][d];
        if (++index[d] < extent[d]) break;
        for (int k = 0; k < K; ++k) at[k] -= stride[k][d] * extent[d];
        index[d] = 0;
      }
      if (d < 0) return;
    }
  }

  // Calls each(offsets) for every index, in order.
  template <class F>
  void Each(F&& each) const {
    Rows([&](const int64_t(&at)[K], int64_t n, const int64_t(&s)[K]) {
      int64_t now[K];
      for (int k = 0; k < K; ++k) now[k] = at[k];
      for (int64_t i = 0; i < n; ++i) {
        each(now);
        for (int k = 0; k < K; ++k) now[k] += s[k];
      }
    });
  }
};

}  // namespace sluice::kernels::ref

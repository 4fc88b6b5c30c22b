// Reads the columns of matrices that are to be packed, as runs of f32 along k.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "base/function_ref.h"
#include "base/result.h"
#include "kernels/packing.h"

namespace sluice::kernels {

// Columns that are laid out at once; a panel of any product is some of them.
inline constexpr int64_t kStripColumns = 16;

// The columns of `parts`, which have the same k and type, side by side. A view.
class ColumnStrips {
 public:
  explicit ColumnStrips(MatrixParts parts);

  int64_t k() const { return k_; }
  int64_t n() const { return n_; }
  int64_t count() const { return (n_ + kStripColumns - 1) / kStripColumns; }

  // One of them in f32: columns [column, column + columns), `stride` floats apart.
  struct Strip {
    int64_t column = 0;
    int64_t columns = 0;  // below kStripColumns in the last one
    const float* x = nullptr;
    int64_t stride = 0;  // above k by what keeps columns off each other's cache sets
    int lane = 0;        // in [0, PackPool().lanes()): no two strips are in one lane at once
  };
  // Calls f for each, in any order, from several threads. f returns false when no more are wanted.
  void ForEach(base::FunctionRef<bool(const Strip&)> f) const;

 private:
  void Read(int64_t first, int64_t count, float* to, int64_t stride) const;

  MatrixParts parts_;
  int64_t k_ = 0;
  int64_t n_ = 0;
};

// The lowest of the columns whose values are not finite, as threads come upon them.
class FirstColumn {
 public:
  void Note(int64_t column);
  bool any() const { return column_.load(std::memory_order_relaxed) != kNone; }
  // kInvalidArgument that names it.
  base::Error NotFinite() const;

 private:
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> column_{kNone};
};

}  // namespace sluice::kernels

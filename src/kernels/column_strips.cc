#include "kernels/column_strips.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/transpose.h"
#include "kernels/pack_pool.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

// Predicted time of an element: read, looked at and written.
constexpr double kElementNs = 0.4;

const std::byte* At(const MatrixSource& source, int64_t k, int64_t n) {
  return static_cast<const std::byte*>(source.data) +
         (k * source.k_stride + n * source.n_stride) * tensor::DTypeSize(source.dtype);
}

// A run of elements that lie side by side.
void Widen(DType type, const std::byte* from, int64_t count, float* to) {
  if (type == DType::kF32) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  ConvertArgs args;
  args.x = from;
  args.y = to;
  args.count = count;
  args.from = type;
  args.to = DType::kF32;
  SLUICE_PICK_ISA(ActiveTarget(), RunConvert)(args, 0, count);
}

// Columns [n, n + count) of one part.
void ReadPart(const MatrixSource& source, int64_t n, int64_t count, float* to, int64_t stride) {
  if (source.k_stride == 1) {
    for (int64_t j = 0; j < count; ++j)
      Widen(source.dtype, At(source, 0, n + j), source.k, to + j * stride);
    return;
  }
  // Rows of some columns each, turned.
  constexpr int64_t kRows = 64;
  float rows[kRows * kStripColumns];
  for (int64_t k0 = 0; k0 < source.k; k0 += kRows) {
    const int64_t k1 = std::min(source.k, k0 + kRows);
    for (int64_t k = k0; k < k1; ++k) {
      float* const row = rows + (k - k0) * kStripColumns;
      if (source.n_stride == 1) {
        Widen(source.dtype, At(source, k, n), count, row);
      } else {
        for (int64_t j = 0; j < count; ++j) Widen(source.dtype, At(source, k, n + j), 1, row + j);
      }
    }
    SLUICE_PICK_ISA(ActiveTarget(), TransposeWords)
    (reinterpret_cast<const uint32_t*>(rows), kStripColumns, k1 - k0, count,
     reinterpret_cast<uint32_t*>(to + k0), stride);
  }
}

}  // namespace

ColumnStrips::ColumnStrips(MatrixParts parts) : parts_(parts) {
  CHECK(!parts.empty());
  k_ = parts[0].k;
  n_ = ColumnsOf(parts);
  for (const MatrixSource& part : parts)
    CHECK(part.k == k_ && part.dtype == parts[0].dtype && part.data != nullptr);
}

void ColumnStrips::Read(int64_t first, int64_t count, float* to, int64_t stride) const {
  for (const MatrixSource& part : parts_) {
    if (count == 0) return;
    if (first >= part.n) {
      first -= part.n;
      continue;
    }
    const int64_t here = std::min(count, part.n - first);
    ReadPart(part, first, here, to, stride);
    to += here * stride;
    count -= here;
    first = 0;
  }
}

void ColumnStrips::ForEach(base::FunctionRef<bool(const Strip&)> f) const {
  base::ThreadPool& pool = PackPool();
  const int64_t stride = (k_ + 15) / 16 * 16 + 16;
  std::vector<tensor::Buffer> memory(static_cast<size_t>(pool.lanes()));
  std::atomic<bool> wanted{true};
  const auto run = [&](int64_t begin, int64_t end, int lane) {
    tensor::Buffer& own = memory[static_cast<size_t>(lane)];
    if (!own) {
      own = tensor::Buffer::Allocate(kStripColumns * stride * static_cast<int64_t>(sizeof(float)));
    }
    auto* const x = reinterpret_cast<float*>(own.mutable_data());
    for (int64_t i = begin; i < end && wanted.load(std::memory_order_relaxed); ++i) {
      Strip strip;
      strip.column = i * kStripColumns;
      strip.columns = std::min(kStripColumns, n_ - strip.column);
      strip.x = x;
      strip.stride = stride;
      strip.lane = lane;
      Read(strip.column, strip.columns, x, stride);
      if (!f(strip)) wanted.store(false, std::memory_order_relaxed);
    }
  };
  pool.ParallelForLanes(count(), static_cast<double>(kStripColumns * k_) * kElementNs, run);
}

void FirstColumn::Note(int64_t column) {
  int64_t first = column_.load(std::memory_order_relaxed);
  while (column < first && !column_.compare_exchange_weak(first, column)) {
  }
}

base::Error FirstColumn::NotFinite() const {
  return base::InvalidArgument("column " + std::to_string(column_.load()) +
                               " of the weight holds a value that is not finite");
}

}  // namespace sluice::kernels

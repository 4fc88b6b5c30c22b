// Rows of a table by index; many tables at once and bags are embedding_bag.h. Indices come from
// requests: each is checked before it is used, negative ones count from the end, and nothing is
// read out of bounds.
#pragma once

#include <cstdint>

#include "kernels/work.h"
#include "tensor/dtype.h"

namespace sluice::kernels {

// A table of `rows` rows of `columns` elements, f32, f16 or bf16; read as f32. For other element
// types see GatherBytes.
struct TableView {
  const void* data = nullptr;
  tensor::DType dtype = tensor::DType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
};

// int32 or int64 indices.
struct IndexView {
  const void* data = nullptr;
  bool wide = true;  // int64
};

// Position of the first index that was out of range, or kAllInRange. Rows of bad indices are left
// unwritten.
inline constexpr int64_t kAllInRange = -1;

// y[i, :] = table[indices[i], :] as f32.
struct GatherRowsArgs {
  TableView table;
  IndexView indices;
  int64_t count = 0;
  float* y = nullptr;  // [count, y_stride], the first `columns` of each row
  int64_t y_stride = 0;
};
int64_t GatherRowsTiles(const GatherRowsArgs& args);
[[nodiscard]] int64_t GatherRows(const GatherRowsArgs& args, Tiles tiles);
Work GatherRowsWork(const GatherRowsArgs& args);

// y[i] = the row_bytes bytes of table row indices[i]: any element type, bit for bit.
struct GatherBytesArgs {
  const void* table = nullptr;
  int64_t rows = 0;
  int64_t row_bytes = 0;
  IndexView indices;
  int64_t count = 0;
  void* y = nullptr;
};
int64_t GatherBytesTiles(const GatherBytesArgs& args);
[[nodiscard]] int64_t GatherBytes(const GatherBytesArgs& args, Tiles tiles);
Work GatherBytesWork(const GatherBytesArgs& args);

}  // namespace sluice::kernels

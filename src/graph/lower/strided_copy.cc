#include "graph/lower/strided_copy.h"

#include <cstring>

namespace sluice::graph {
namespace {

struct Block16 {
  uint64_t low, high;
};

// [rows, columns] packed from strided.
template <class T>
void CopyPlane(const T* src, int64_t row_stride, int64_t column_stride, T* dst, int64_t rows,
               int64_t columns) {
  if (column_stride == 1) {
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(dst + r * columns, src + r * row_stride,
                  static_cast<size_t>(columns) * sizeof(T));
    }
    return;
  }
  // Blocks of 16 x 16 keep both sides in the cache when the source runs down its columns.
  constexpr int64_t kBlock = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock) {
    const int64_t r1 = r0 + kBlock < rows ? r0 + kBlock : rows;
    for (int64_t c0 = 0; c0 < columns; c0 += kBlock) {
      const int64_t c1 = c0 + kBlock < columns ? c0 + kBlock : columns;
      for (int64_t r = r0; r < r1; ++r) {
        for (int64_t c = c0; c < c1; ++c)
          dst[r * columns + c] = src[r * row_stride + c * column_stride];
      }
    }
  }
}

template <class T>
void Copy(const StridedCopyArgs& args, kernels::Tiles tiles) {
  const int outer = args.rank - 2;
  const int64_t rows = args.extents[outer];
  const int64_t columns = args.extents[outer + 1];
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    int64_t rest = tile;
    int64_t offset = 0;
    for (int axis = outer - 1; axis >= 0; --axis) {
      offset += rest % args.extents[axis] * args.strides[axis];
      rest /= args.extents[axis];
    }
    CopyPlane(static_cast<const T*>(args.src) + offset, args.strides[outer],
              args.strides[outer + 1], static_cast<T*>(args.dst) + tile * rows * columns, rows,
              columns);
  }
}

}  // namespace

StridedCopyArgs MakeStridedCopy(const tensor::Shape& shape, const Place& place,
                                int64_t element_bytes) {
  StridedCopyArgs args;
  args.element_bytes = static_cast<int32_t>(element_bytes);
  int rank = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] == 1) continue;
    if (rank > 0 && args.strides[rank - 1] == place.strides[axis] * shape[axis]) {
      args.extents[rank - 1] *= shape[axis];
      args.strides[rank - 1] = place.strides[axis];
      continue;
    }
    args.extents[rank] = shape[axis];
    args.strides[rank] = place.strides[axis];
    ++rank;
  }
  while (rank < 2) {
    for (int i = rank; i > 0; --i) {
      args.extents[i] = args.extents[i - 1];
      args.strides[i] = args.strides[i - 1];
    }
    args.extents[0] = 1;
    args.strides[0] = 0;
    if (rank == 0) args.strides[0] = 1;
    ++rank;
  }
  args.rank = rank;
  return args;
}

int64_t StridedCopyTiles(const StridedCopyArgs& args) {
  int64_t tiles = 1;
  for (int axis = 0; axis < args.rank - 2; ++axis) tiles *= args.extents[axis];
  return args.extents[args.rank - 1] * args.extents[args.rank - 2] == 0 ? 0 : tiles;
}

void StridedCopy(const void* block, kernels::Tiles tiles) {
  const StridedCopyArgs& args = *static_cast<const StridedCopyArgs*>(block);
  switch (args.element_bytes) {
    case 1:
      return Copy<uint8_t>(args, tiles);
    case 2:
      return Copy<uint16_t>(args, tiles);
    case 4:
      return Copy<uint32_t>(args, tiles);
    case 8:
      return Copy<uint64_t>(args, tiles);
    default:
      return Copy<Block16>(args, tiles);
  }
}

kernels::Work StridedCopyWork(const StridedCopyArgs& args) {
  int64_t bytes = args.element_bytes;
  for (int axis = 0; axis < args.rank; ++axis) bytes *= args.extents[axis];
  return {0, 2 * bytes};
}

}  // namespace sluice::graph

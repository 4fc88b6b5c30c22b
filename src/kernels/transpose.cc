#include "kernels/transpose.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/transpose.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

constexpr int64_t kTileBytes = 64 << 10;
constexpr int64_t kTurnTileBytes = 256 << 10;

// A transpose with extents of 1 dropped and axes that stay neighbours merged; in the order of y.
struct TransposePlan {
  int rank = 0;
  int64_t extent[kTransposeRank] = {};
  int64_t x_stride[kTransposeRank] = {};
  int64_t y_stride[kTransposeRank] = {};
  int turn = -1;             // axis of y that is x's innermost, when it is not y's innermost too
  int64_t outer = 1;         // iterations over the axes that are neither `turn` nor the innermost
  int64_t strips = 1;        // pieces of one iteration
  int64_t strip_extent = 0;  // of y's innermost axis, or rows copied
};

TransposePlan MakePlan(const TransposeArgs& args) {
  int64_t stride[kTransposeRank];
  int64_t elements = 1;
  for (int d = args.rank - 1; d >= 0; --d) {
    stride[d] = elements;
    elements *= args.shape[d];
  }
  TransposePlan plan;
  for (int d = 0; d < args.rank; ++d) {
    const int64_t n = args.shape[args.perm[d]];
    const int64_t s = stride[args.perm[d]];
    if (n == 1) continue;
    if (plan.rank > 0 && plan.x_stride[plan.rank - 1] == s * n) {
      plan.extent[plan.rank - 1] *= n;
      plan.x_stride[plan.rank - 1] = s;
      continue;
    }
    plan.extent[plan.rank] = n;
    plan.x_stride[plan.rank++] = s;
  }
  if (plan.rank == 0) {
    plan.extent[plan.rank] = elements;
    plan.x_stride[plan.rank++] = 1;
  }
  int64_t y_stride = 1;
  for (int d = plan.rank - 1; d >= 0; --d) {
    plan.y_stride[d] = y_stride;
    y_stride *= plan.extent[d];
  }
  const int last = plan.rank - 1;
  if (plan.x_stride[last] != 1) {
    for (int d = 0; d < last; ++d) {
      if (plan.x_stride[d] == 1) plan.turn = d;
    }
  }
  for (int d = 0; d < last; ++d) {
    if (d != plan.turn) plan.outer *= plan.extent[d];
  }
  if (plan.turn >= 0) {
    // Pieces of y's innermost axis: their rows of x are read once, from end to end.
    const int64_t row_bytes = plan.extent[plan.turn] * args.element_bytes;
    const int64_t rows = std::max<int64_t>(1, kTurnTileBytes / std::max<int64_t>(1, row_bytes));
    plan.strip_extent = (rows + 15) / 16 * 16;
    plan.strips = (plan.extent[last] + plan.strip_extent - 1) / plan.strip_extent;
  } else {
    const int64_t run_bytes = plan.extent[last] * args.element_bytes;
    plan.strip_extent = std::max<int64_t>(1, kTileBytes / std::max<int64_t>(1, run_bytes));
    plan.strips = (plan.outer + plan.strip_extent - 1) / plan.strip_extent;
  }
  return plan;
}

// Offsets in x and y of iteration i over the outer axes.
struct Offsets {
  int64_t x = 0;
  int64_t y = 0;
};
Offsets OuterOffsets(const TransposePlan& plan, int64_t i) {
  Offsets at;
  for (int d = plan.rank - 2; d >= 0; --d) {
    if (d == plan.turn) continue;
    at.x += i % plan.extent[d] * plan.x_stride[d];
    at.y += i % plan.extent[d] * plan.y_stride[d];
    i /= plan.extent[d];
  }
  return at;
}

template <class E>
void TurnElements(const E* x, int64_t x_stride, int64_t columns, int64_t rows, E* y,
                  int64_t y_stride) {
  constexpr int64_t kBlock = 16;
  for (int64_t j0 = 0; j0 < rows; j0 += kBlock) {
    const int64_t j1 = std::min(rows, j0 + kBlock);
    for (int64_t i0 = 0; i0 < columns; i0 += kBlock) {
      const int64_t i1 = std::min(columns, i0 + kBlock);
      for (int64_t j = j0; j < j1; ++j) {
        for (int64_t i = i0; i < i1; ++i) y[j * y_stride + i] = x[i * x_stride + j];
      }
    }
  }
}

struct Element16 {
  uint64_t halves[2];
};

// Indices [begin, begin + columns) of y's innermost axis in one outer iteration.
void TurnStrip(const TransposeArgs& args, const TransposePlan& plan, const Offsets& at,
               int64_t begin, int64_t columns) {
  const int last = plan.rank - 1;
  const int64_t x0 = at.x + begin * plan.x_stride[last];
  const int64_t y0 = at.y + begin;
  const int64_t count = plan.extent[plan.turn];
  const auto run = [&](auto tag) {
    using E = decltype(tag);
    TurnElements(static_cast<const E*>(args.x) + x0, plan.x_stride[last], columns, count,
                 static_cast<E*>(args.y) + y0, plan.y_stride[plan.turn]);
  };
  switch (args.element_bytes) {
    case 1:
      return run(uint8_t{});
    case 2:
      return run(uint16_t{});
    case 4:
      return SLUICE_PICK_ISA(ActiveTarget(), TransposeWords)(
          static_cast<const uint32_t*>(args.x) + x0, plan.x_stride[last], columns, count,
          static_cast<uint32_t*>(args.y) + y0, plan.y_stride[plan.turn]);
    case 8:
      return run(uint64_t{});
    default:
      return run(Element16{});
  }
}

int64_t Elements(const TransposeArgs& args) {
  int64_t n = 1;
  for (int d = 0; d < args.rank; ++d) n *= args.shape[d];
  return n;
}

}  // namespace

int64_t TransposeTiles(const TransposeArgs& args) {
  if (Elements(args) == 0) return 0;
  const TransposePlan plan = MakePlan(args);
  return plan.turn >= 0 ? plan.outer * plan.strips : plan.strips;
}

void Transpose(const TransposeArgs& args, Tiles tiles) {
  if (tiles.begin >= tiles.end) return;
  const TransposePlan plan = MakePlan(args);
  const int last = plan.rank - 1;
  if (plan.turn >= 0) {
    for (int64_t t = tiles.begin; t < tiles.end; ++t) {
      const int64_t begin = t % plan.strips * plan.strip_extent;
      const int64_t count = std::min(plan.extent[last] - begin, plan.strip_extent);
      TurnStrip(args, plan, OuterOffsets(plan, t / plan.strips), begin, count);
    }
    return;
  }
  CHECK_EQ(plan.x_stride[last], 1);
  const int64_t bytes = plan.extent[last] * args.element_bytes;
  const int64_t end = std::min(plan.outer, tiles.end * plan.strip_extent);
  for (int64_t i = tiles.begin * plan.strip_extent; i < end; ++i) {
    const Offsets at = OuterOffsets(plan, i);
    std::memcpy(static_cast<char*>(args.y) + at.y * args.element_bytes,
                static_cast<const char*>(args.x) + at.x * args.element_bytes,
                static_cast<size_t>(bytes));
  }
}

Work TransposeWork(const TransposeArgs& args) {
  return {0, 2 * Elements(args) * args.element_bytes};
}

int64_t CopyRowsTiles(const CopyRowsArgs& args) {
  if (args.bytes == 0) return 0;
  const int64_t step = std::max<int64_t>(1, kTileBytes / args.bytes);
  return (args.rows + step - 1) / step;
}

namespace {

// kBytes known to the compiler turn a call into a few moves.
template <int64_t kBytes>
void CopyFixed(const CopyRowsArgs& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    std::memcpy(static_cast<char*>(args.y) + row * args.y_stride,
                static_cast<const char*>(args.x) + row * args.x_stride, kBytes);
  }
}

}  // namespace

void CopyRows(const CopyRowsArgs& args, Tiles tiles) {
  if (args.bytes == 0) return;
  const int64_t step = std::max<int64_t>(1, kTileBytes / args.bytes);
  const int64_t begin = tiles.begin * step;
  const int64_t end = std::min(args.rows, tiles.end * step);
  switch (args.bytes) {
    case 4:
      return CopyFixed<4>(args, begin, end);
    case 8:
      return CopyFixed<8>(args, begin, end);
    case 16:
      return CopyFixed<16>(args, begin, end);
    case 32:
      return CopyFixed<32>(args, begin, end);
    case 64:
      return CopyFixed<64>(args, begin, end);
    case 128:
      return CopyFixed<128>(args, begin, end);
    default:
      break;
  }
  for (int64_t row = begin; row < end; ++row) {
    std::memcpy(static_cast<char*>(args.y) + row * args.y_stride,
                static_cast<const char*>(args.x) + row * args.x_stride,
                static_cast<size_t>(args.bytes));
  }
}

Work CopyRowsWork(const CopyRowsArgs& args) {
  return {0, 2 * args.rows * args.bytes};
}

namespace {

constexpr int64_t kConvertTile = 16384;

bool Converts(DType from, DType to) {
  if (to == DType::kF32) {
    return from == DType::kF16 || from == DType::kBF16 || from == DType::kI32 ||
           from == DType::kI64;
  }
  return from == DType::kF32 && (to == DType::kF16 || to == DType::kBF16);
}

}  // namespace

int64_t ConvertTiles(const ConvertArgs& args) {
  return (args.count + kConvertTile - 1) / kConvertTile;
}

void Convert(const ConvertArgs& args, Tiles tiles) {
  CHECK(Converts(args.from, args.to));
  const int64_t begin = tiles.begin * kConvertTile;
  const int64_t end = std::min(args.count, tiles.end * kConvertTile);
  if (begin < end) SLUICE_PICK_ISA(ActiveTarget(), RunConvert)(args, begin, end);
}

Work ConvertWork(const ConvertArgs& args) {
  return {0, args.count * (tensor::DTypeSize(args.from) + tensor::DTypeSize(args.to))};
}

}  // namespace sluice::kernels

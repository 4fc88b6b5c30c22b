// Data movement without positions from data.
#include "kernels/ref/movement.h"

#include <algorithm>
#include <cstring>

#include "kernels/ref/lanes.h"
#include "kernels/ref/strided_copy.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DTypeSize;

// Copies x into y where axis d of y takes x's index map(d, i), or the element `fill` where that is
// negative.
template <class E, class Map>
class MappedCopy {
 public:
  MappedCopy(const ConstView& x, const View& y, const E& fill, Map map)
      : x_(static_cast<const E*>(x.data)),
        y_(static_cast<E*>(y.data)),
        shape_(y.shape),
        fill_(fill),
        map_(map) {
    CHECK_EQ(x.shape.rank(), y.shape.rank());
    DenseStrides(x.shape, stride_);
    if (shape_.elements() > 0) Axis(0, 0);
  }

 private:
  void Axis(int axis, int64_t from) {
    if (axis == shape_.rank()) {
      y_[written_++] = x_[from];
      return;
    }
    const int64_t below = shape_.elements(axis + 1, shape_.rank());
    for (int64_t i = 0; i < shape_[axis];) {
      const int64_t source = map_(axis, i);
      int64_t run = 1;
      if (source < 0) {
        std::fill_n(y_ + written_, below, fill_);
        written_ += below;
      } else if (axis + 1 < shape_.rank()) {
        Axis(axis + 1, from + source * stride_[axis]);
      } else {
        while (i + run < shape_[axis] && map_(axis, i + run) == source + run) ++run;
        std::copy_n(x_ + from + source, run, y_ + written_);
        written_ += run;
      }
      i += run;
    }
  }

  const E* x_;
  E* y_;
  Shape shape_;
  E fill_;
  Map map_;
  int64_t stride_[kMaxRank] = {};
  int64_t written_ = 0;
};

template <class Map>
void CopyMapped(const ConstView& x, const View& y, const void* value, Map map) {
  WithElement(y.dtype, [&](auto tag) {
    using E = decltype(tag);
    E fill{};
    if (value != nullptr) std::memcpy(&fill, value, sizeof(E));
    MappedCopy<E, Map>(x, y, fill, map);
  });
}

// i folded into [0, n) by mirroring at both ends without repeating them.
int64_t Reflect(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  const int64_t r = ((i % period) + period) % period;
  return r < n ? r : period - r;
}

}  // namespace

void Transpose(const TransposeArgs& args) {
  const int rank = args.x.shape.rank();
  CHECK_EQ(rank, args.y.shape.rank());
  int64_t from[kMaxRank];
  int64_t to[kMaxRank];
  DenseStrides(args.x.shape, from);
  DenseStrides(args.y.shape, to);
  Walk<2> walk;
  for (int i = 0; i < rank; ++i) {
    CHECK_EQ(args.y.shape[i], args.x.shape[args.perm[i]]);
    walk.Append(args.y.shape[i], {from[args.perm[i]], to[i]});
  }
  StridedCopy(walk, args.x.dtype, args.x.data, args.y.data);
}

void Concat(const ConcatArgs& args) {
  const Shape& shape = args.y.shape;
  const int64_t outer = shape.elements(0, args.axis);
  const int64_t row = shape.elements(args.axis, shape.rank()) * DTypeSize(args.y.dtype);
  int64_t at = 0;
  for (const ConstView& input : args.inputs) {
    const int64_t part =
        input.shape.elements(args.axis, input.shape.rank()) * DTypeSize(input.dtype);
    CHECK_LE(at + part, row);
    CHECK_EQ(input.shape.elements(0, args.axis), outer);
    if (part > 0) {
      for (int64_t o = 0; o < outer; ++o) {
        std::memcpy(static_cast<char*>(args.y.data) + o * row + at,
                    static_cast<const char*>(input.data) + o * part, static_cast<size_t>(part));
      }
    }
    at += part;
  }
  CHECK_EQ(at, row);
}

void Split(const SplitArgs& args) {
  const Shape& shape = args.x.shape;
  const int64_t outer = shape.elements(0, args.axis);
  const int64_t row = shape.elements(args.axis, shape.rank()) * DTypeSize(args.x.dtype);
  int64_t at = 0;
  for (const View& output : args.outputs) {
    const int64_t part =
        output.shape.elements(args.axis, output.shape.rank()) * DTypeSize(output.dtype);
    CHECK_LE(at + part, row);
    CHECK_EQ(output.shape.elements(0, args.axis), outer);
    if (part > 0) {
      for (int64_t o = 0; o < outer; ++o) {
        std::memcpy(static_cast<char*>(output.data) + o * part,
                    static_cast<const char*>(args.x.data) + o * row + at,
                    static_cast<size_t>(part));
      }
    }
    at += part;
  }
  CHECK_EQ(at, row);
}

void Slice(const SliceArgs& args) {
  const int rank = args.x.shape.rank();
  CHECK_EQ(rank, args.y.shape.rank());
  if (args.y.shape.elements() == 0) return;
  int64_t from[kMaxRank];
  int64_t to[kMaxRank];
  DenseStrides(args.x.shape, from);
  DenseStrides(args.y.shape, to);
  Walk<2> walk;
  for (int i = 0; i < rank; ++i) {
    const int64_t last = args.start[i] + (args.y.shape[i] - 1) * args.step[i];
    CHECK(args.start[i] >= 0 && args.start[i] < args.x.shape[i] && last >= 0 &&
          last < args.x.shape[i])
        << "slice of axis " << i << " leaves " << args.x.shape.ToString();
    walk.Append(args.y.shape[i], {from[i] * args.step[i], to[i]});
    walk.offset[0] += args.start[i] * from[i];
  }
  StridedCopy(walk, args.x.dtype, args.x.data, args.y.data);
}

void Pad(const PadArgs& args) {
  const Shape& from = args.x.shape;
  if (args.mode != PadMode::kConstant && args.y.shape.elements() > 0) CHECK_GT(from.elements(), 0);
  CopyMapped(args.x, args.y, args.value, [&](int axis, int64_t i) -> int64_t {
    const int64_t n = from[axis];
    const int64_t at = i - args.before[axis];
    if (at >= 0 && at < n) return at;
    switch (args.mode) {
      case PadMode::kConstant:
        return -1;
      case PadMode::kReflect:
        return Reflect(at, n);
      case PadMode::kEdge:
        return at < 0 ? 0 : n - 1;
      case PadMode::kWrap:
        return ((at % n) + n) % n;
    }
    return -1;
  });
}

void Tile(const TileArgs& args) {
  const Shape& from = args.x.shape;
  if (args.y.shape.elements() == 0) return;
  CHECK_GT(from.elements(), 0);
  CopyMapped(args.x, args.y, nullptr, [&](int axis, int64_t i) { return i % from[axis]; });
}

void Expand(const ExpandArgs& args) {
  int64_t from[kMaxRank];
  int64_t to[kMaxRank];
  BroadcastStrides(args.x.shape, args.y.shape, from);
  DenseStrides(args.y.shape, to);
  Walk<2> walk;
  for (int i = 0; i < args.y.shape.rank(); ++i) walk.Append(args.y.shape[i], {from[i], to[i]});
  StridedCopy(walk, args.x.dtype, args.x.data, args.y.data);
}

void DepthToSpace(const DepthToSpaceArgs& args) {
  const Shape& s = args.x.shape;
  CHECK_EQ(s.rank(), 4);
  const int64_t b = args.block;
  const int64_t channels = s[1] / (b * b);
  const int64_t plane = s[2] * s[3];
  // Strides in x of y's six axes: batch, channel, row, row in block, column, column in block.
  const int64_t channel = args.crd ? b * b * plane : plane;
  const int64_t block_row = args.crd ? b * plane : b * channels * plane;
  const int64_t block_column = args.crd ? plane : channels * plane;
  const int64_t extent[6] = {s[0], channels, s[2], b, s[3], b};
  const int64_t from[6] = {s[1] * plane, channel, s[3], block_row, 1, block_column};
  Walk<2> walk;
  int64_t to = args.y.shape.elements();
  for (int i = 0; i < 6; ++i) {
    if (extent[i] > 0) to /= extent[i];
    walk.Append(extent[i], {from[i], to});
  }
  StridedCopy(walk, args.x.dtype, args.x.data, args.y.data);
}

void SpaceToDepth(const SpaceToDepthArgs& args) {
  const Shape& s = args.x.shape;
  CHECK_EQ(s.rank(), 4);
  const int64_t b = args.block;
  // Axes of y: batch, row in block, column in block, channel, row, column.
  const int64_t extent[6] = {s[0], b, b, s[1], s[2] / b, s[3] / b};
  const int64_t from[6] = {s[1] * s[2] * s[3], s[3], 1, s[2] * s[3], b * s[3], b};
  Walk<2> walk;
  int64_t to = args.y.shape.elements();
  for (int i = 0; i < 6; ++i) {
    if (extent[i] > 0) to /= extent[i];
    walk.Append(extent[i], {from[i], to});
  }
  StridedCopy(walk, args.x.dtype, args.x.data, args.y.data);
}

void Trilu(const TriluArgs& args) {
  const Shape& s = args.x.shape;
  CHECK_GE(s.rank(), 2);
  const int64_t rows = s[s.rank() - 2];
  const int64_t columns = s[s.rank() - 1];
  const int64_t matrices = s.elements(0, s.rank() - 2);
  WithElement(args.x.dtype, [&](auto tag) {
    using E = decltype(tag);
    const E* x = static_cast<const E*>(args.x.data);
    E* y = static_cast<E*>(args.y.data);
    for (int64_t row = 0; row < matrices * rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t diagonal = column - row % rows;
        const bool keep = args.upper ? diagonal >= args.k : diagonal <= args.k;
        y[row * columns + column] = keep ? x[row * columns + column] : E{};
      }
    }
  });
}

void Eye(const EyeArgs& args) {
  CHECK_EQ(args.y.shape.rank(), 2);
  const int64_t columns = args.y.shape[1];
  for (int64_t row = 0; row < args.y.shape[0]; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      StoreOne<uint64_t>(args.y.dtype, args.y.data, row * columns + column,
                         column - row == args.k ? 1 : 0);
    }
  }
}

void Range(const RangeArgs& args) {
  WithWide(args.y.dtype, [&](auto tag) {
    using W = decltype(tag);
    const W start = LoadOne<W>(args.start.dtype, args.start.data, 0);
    const W delta = LoadOne<W>(args.delta.dtype, args.delta.data, 0);
    for (int64_t i = 0; i < args.y.shape.elements(); ++i) {
      StoreOne(args.y.dtype, args.y.data, i, WrapAdd(start, WrapMul(static_cast<W>(i), delta)));
    }
  });
}

base::Status ReverseSequence(const ReverseSequenceArgs& args) {
  CHECK((args.time_axis == 0 && args.batch_axis == 1) ||
        (args.time_axis == 1 && args.batch_axis == 0));
  const Shape& s = args.x.shape;
  const int64_t time = s[args.time_axis];
  const int64_t batch = s[args.batch_axis];
  CHECK_EQ(args.lengths.shape.elements(), batch);
  const int64_t row = s.elements(2, s.rank()) * DTypeSize(args.x.dtype);
  const int64_t time_bytes = args.time_axis == 0 ? batch * row : row;
  const int64_t batch_bytes = args.time_axis == 0 ? row : time * row;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = args.lengths.as<int64_t>()[b];
    if (length < 0 || length > time) {
      return base::InvalidArgument("ReverseSequence: length " + std::to_string(length) +
                                   " of sequence " + std::to_string(b) + " is not within 0 to " +
                                   std::to_string(time));
    }
    for (int64_t t = 0; t < time && row > 0; ++t) {
      const int64_t from = t < length ? length - 1 - t : t;
      std::memcpy(static_cast<char*>(args.y.data) + t * time_bytes + b * batch_bytes,
                  static_cast<const char*>(args.x.data) + from * time_bytes + b * batch_bytes,
                  static_cast<size_t>(row));
    }
  }
  return base::Ok();
}

void Fill(const FillArgs& args) {
  const int64_t count = args.y.shape.elements();
  WithElement(args.y.dtype, [&](auto tag) {
    using E = decltype(tag);
    E fill{};
    if (args.value != nullptr) std::memcpy(&fill, args.value, sizeof(E));
    E* y = static_cast<E*>(args.y.data);
    for (int64_t i = 0; i < count; ++i) y[i] = fill;
  });
}

}  // namespace sluice::kernels::ref

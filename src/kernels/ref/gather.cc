// Gathers and scatters.
#include "kernels/ref/gather.h"

#include <cstring>

#include "kernels/ref/index.h"
#include "kernels/ref/lanes.h"
#include "kernels/ref/strided_copy.h"

namespace sluice::kernels::ref {
namespace {

using base::Status;
using tensor::DType;
using tensor::DTypeSize;

void CheckIndexType(const ConstView& indices) {
  CHECK(indices.dtype == DType::kI32 || indices.dtype == DType::kI64);
}

// y[at] op= u for one element.
template <class W>
void Combine(ScatterReduction reduction, const View& y, int64_t at, const ConstView& updates,
             int64_t from) {
  const W old = LoadOne<W>(y.dtype, y.data, at);
  const W value = LoadOne<W>(updates.dtype, updates.data, from);
  W result = value;
  switch (reduction) {
    case ScatterReduction::kNone:
      break;
    case ScatterReduction::kAdd:
      result = WrapAdd(old, value);
      break;
    case ScatterReduction::kMul:
      result = WrapMul(old, value);
      break;
    case ScatterReduction::kMax:
      result = value > old || value != value ? value : old;
      break;
    case ScatterReduction::kMin:
      result = value < old || value != value ? value : old;
      break;
  }
  StoreOne(y.dtype, y.data, at, result);
}

// y[at, at + n) op= updates[from, from + n).
void CombineRun(ScatterReduction reduction, const View& y, int64_t at, const ConstView& updates,
                int64_t from, int64_t n) {
  if (reduction == ScatterReduction::kNone) {
    const int64_t size = DTypeSize(y.dtype);
    if (n > 0) {
      std::memcpy(static_cast<char*>(y.data) + at * size,
                  static_cast<const char*>(updates.data) + from * size,
                  static_cast<size_t>(n * size));
    }
    return;
  }
  WithWide(y.dtype, [&](auto tag) {
    for (int64_t i = 0; i < n; ++i) Combine<decltype(tag)>(reduction, y, at + i, updates, from + i);
  });
}

void CopyAll(const ConstView& x, const View& y) {
  CHECK_EQ(x.bytes(), y.bytes());
  if (x.data != y.data && x.bytes() > 0)
    std::memcpy(y.data, x.data, static_cast<size_t>(x.bytes()));
}

// Offset of the slice of `shape` that `k` indices at `position` name, behind the `skip` leading
// axes; -1 and the error in `status` when one is outside.
int64_t SliceOffset(const char* op, const Shape& shape, int skip, const ConstView& indices,
                    int64_t position, int64_t k, Status& status) {
  int64_t offset = 0;
  for (int64_t j = 0; j < k; ++j) {
    const int64_t extent = shape[skip + static_cast<int>(j)];
    const int64_t raw = IndexAt(indices, position + j);
    const int64_t index = WrapIndex(raw, extent);
    if (index < 0) {
      status = IndexError(op, raw, extent, position + j);
      return -1;
    }
    offset = offset * extent + index;
  }
  return offset * shape.elements(skip + static_cast<int>(k), shape.rank());
}

}  // namespace

Status Gather(const GatherArgs& args) {
  CheckIndexType(args.indices);
  const Shape& s = args.x.shape;
  const int64_t outer = s.elements(0, args.axis);
  const int64_t extent = s[args.axis];
  const int64_t row = s.elements(args.axis + 1, s.rank()) * DTypeSize(args.x.dtype);
  const int64_t count = args.indices.shape.elements();
  CHECK_EQ(args.y.bytes(), outer * count * row);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t raw = IndexAt(args.indices, i);
    const int64_t index = WrapIndex(raw, extent);
    if (index < 0) return IndexError("Gather", raw, extent, i);
    for (int64_t o = 0; o < outer && row > 0; ++o) {
      std::memcpy(static_cast<char*>(args.y.data) + (o * count + i) * row,
                  static_cast<const char*>(args.x.data) + (o * extent + index) * row,
                  static_cast<size_t>(row));
    }
  }
  return base::Ok();
}

Status GatherElements(const GatherElementsArgs& args) {
  CheckIndexType(args.indices);
  const Shape& s = args.indices.shape;
  CHECK_EQ(s.rank(), args.x.shape.rank());
  CHECK_EQ(s.elements(), args.y.shape.elements());
  int64_t from[kMaxRank];
  int64_t to[kMaxRank];
  DenseStrides(args.x.shape, from);
  DenseStrides(s, to);
  const int64_t extent = s.rank() > 0 ? args.x.shape[args.axis] : 1;
  const int64_t axis_stride = s.rank() > 0 ? from[args.axis] : 0;
  Walk<2> walk;
  for (int d = 0; d < s.rank(); ++d) {
    CHECK(d == args.axis || s[d] <= args.x.shape[d]);
    walk.Append(s[d], {d == args.axis ? 0 : from[d], to[d]});
  }
  Status status;
  WithElement(args.x.dtype, [&](auto tag) {
    using E = decltype(tag);
    const E* x = static_cast<const E*>(args.x.data);
    E* y = static_cast<E*>(args.y.data);
    walk.Each([&](const int64_t(&at)[2]) {
      if (!status.ok()) return;
      const int64_t raw = IndexAt(args.indices, at[1]);
      const int64_t index = WrapIndex(raw, extent);
      if (index < 0) {
        status = IndexError("GatherElements", raw, extent, at[1]);
        return;
      }
      y[at[1]] = x[at[0] + index * axis_stride];
    });
  });
  return status;
}

Status GatherNd(const GatherNdArgs& args) {
  CheckIndexType(args.indices);
  const Shape& s = args.x.shape;
  const Shape& is = args.indices.shape;
  CHECK_GE(is.rank(), 1);
  const int64_t k = is[is.rank() - 1];
  CHECK_LE(args.batch_dims + k, s.rank());
  const int64_t batches = s.elements(0, args.batch_dims);
  const int64_t per_batch = is.elements(args.batch_dims, is.rank() - 1);
  const int64_t batch_elements = s.elements(args.batch_dims, s.rank());
  const int64_t size = DTypeSize(args.x.dtype);
  const int64_t run = s.elements(args.batch_dims + static_cast<int>(k), s.rank()) * size;
  CHECK_EQ(args.y.bytes(), batches * per_batch * run);
  Status status;
  for (int64_t i = 0; i < batches * per_batch; ++i) {
    const int64_t offset =
        SliceOffset("GatherND", s, args.batch_dims, args.indices, i * k, k, status);
    if (offset < 0) return status;
    if (run == 0) continue;
    const int64_t from = i / per_batch * batch_elements + offset;
    std::memcpy(static_cast<char*>(args.y.data) + i * run,
                static_cast<const char*>(args.x.data) + from * size, static_cast<size_t>(run));
  }
  return status;
}

Status ScatterElements(const ScatterElementsArgs& args) {
  CheckIndexType(args.indices);
  const Shape& s = args.indices.shape;
  CHECK_EQ(s.rank(), args.x.shape.rank());
  CHECK_EQ(s.elements(), args.updates.shape.elements());
  CopyAll(args.x, args.y);
  int64_t to[kMaxRank];
  int64_t from[kMaxRank];
  DenseStrides(args.y.shape, to);
  DenseStrides(s, from);
  const int64_t extent = s.rank() > 0 ? args.x.shape[args.axis] : 1;
  const int64_t axis_stride = s.rank() > 0 ? to[args.axis] : 0;
  Walk<2> walk;
  for (int d = 0; d < s.rank(); ++d) {
    CHECK(d == args.axis || s[d] <= args.x.shape[d]);
    walk.Append(s[d], {d == args.axis ? 0 : to[d], from[d]});
  }
  Status status;
  walk.Each([&](const int64_t(&at)[2]) {
    if (!status.ok()) return;
    const int64_t raw = IndexAt(args.indices, at[1]);
    const int64_t index = WrapIndex(raw, extent);
    if (index < 0) {
      status = IndexError("ScatterElements", raw, extent, at[1]);
      return;
    }
    CombineRun(args.reduction, args.y, at[0] + index * axis_stride, args.updates, at[1], 1);
  });
  return status;
}

Status ScatterNd(const ScatterNdArgs& args) {
  CheckIndexType(args.indices);
  const Shape& s = args.x.shape;
  const Shape& is = args.indices.shape;
  CHECK_GE(is.rank(), 1);
  const int64_t k = is[is.rank() - 1];
  CHECK_LE(k, s.rank());
  const int64_t count = is.elements(0, is.rank() - 1);
  const int64_t run = s.elements(static_cast<int>(k), s.rank());
  CHECK_EQ(args.updates.shape.elements(), count * run);
  CopyAll(args.x, args.y);
  Status status;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t offset = SliceOffset("ScatterND", s, 0, args.indices, i * k, k, status);
    if (offset < 0) return status;
    CombineRun(args.reduction, args.y, offset, args.updates, i * run, run);
  }
  return status;
}

void OneHot(const OneHotArgs& args) {
  const Shape& s = args.y.shape;
  const int64_t depth = s[args.axis];
  const int64_t outer = s.elements(0, args.axis);
  const int64_t inner = s.elements(args.axis + 1, s.rank());
  CHECK_EQ(args.indices.shape.elements(), outer * inner);
  WithElement(args.y.dtype, [&](auto tag) {
    using E = decltype(tag);
    const E* values = static_cast<const E*>(args.values.data);
    E* y = static_cast<E*>(args.y.data);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        for (int64_t k = 0; k < depth; ++k) y[(o * depth + k) * inner + i] = values[0];
        const int64_t raw = LoadOne<int64_t>(args.indices.dtype, args.indices.data, o * inner + i);
        const int64_t index = WrapIndex(raw, depth);
        if (index >= 0) y[(o * depth + index) * inner + i] = values[1];
      }
    }
  });
}

}  // namespace sluice::kernels::ref

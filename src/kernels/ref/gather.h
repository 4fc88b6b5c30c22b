// Reference gathers, scatters and selections: everything whose positions come from data. Positions
// are int32 or int64, negative ones count from the end, and each is checked before it is used: one
// out of range is kInvalidArgument naming the position, and nothing is read or written out of
// bounds. Any dtype moves; reductions need numeric ones.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// y[..., i..., ...] = x[..., indices[i...], ...] along `axis`; y.shape = x[:axis] + indices.shape +
// x[axis+1:].
struct GatherArgs {
  ConstView x;
  ConstView indices;
  View y;
  int axis = 0;
};
base::Status Gather(const GatherArgs& args);

// y[i] = x[i with indices[i] on `axis`]; y.shape = indices.shape, whose other extents are at most
// x's.
struct GatherElementsArgs {
  ConstView x;
  ConstView indices;
  View y;
  int axis = 0;
};
base::Status GatherElements(const GatherElementsArgs& args);

// indices [batch..., i..., k]: y[batch, i] = x[batch][indices[batch, i, 0..k)].
struct GatherNdArgs {
  ConstView x;
  ConstView indices;
  View y;
  int batch_dims = 0;
};
base::Status GatherNd(const GatherNdArgs& args);

// y = x, then for every i: y[i with indices[i] on axis] op= updates[i], in ascending order of i. y
// may be x's memory.
enum class ScatterReduction : uint8_t { kNone, kAdd, kMul, kMax, kMin };
struct ScatterElementsArgs {
  ConstView x;
  ConstView indices;
  ConstView updates;
  View y;
  int axis = 0;
  ScatterReduction reduction = ScatterReduction::kNone;
};
base::Status ScatterElements(const ScatterElementsArgs& args);

// y = x, then y[indices[i..., 0..k)] op= updates[i...].
struct ScatterNdArgs {
  ConstView x;
  ConstView indices;
  ConstView updates;
  View y;
  ScatterReduction reduction = ScatterReduction::kNone;
};
base::Status ScatterNd(const ScatterNdArgs& args);

// y = off everywhere and on at the index along `axis` of y (inserted). indices of any numeric dtype
// are truncated to integers; values holds {off, on}, any dtype shared with y. An index outside
// [-depth, depth) gives all off, as ONNX.
struct OneHotArgs {
  ConstView indices;
  ConstView values;
  View y;
  int axis = 0;
};
void OneHot(const OneHotArgs& args);

// Number of non-zero elements, and their coordinates as y int64 [rank, count], row-major order.
// Rank 0 counts as [1].
int64_t NonZeroCount(const ConstView& x);
struct NonZeroArgs {
  ConstView x;
  View y;
};
void NonZero(const NonZeroArgs& args);

// Slices of x along `axis` (or elements of x flattened with axis -1) where the bool condition,
// which may be shorter, holds. CompressCount gives y's extent; `extent` is x's along the axis.
int64_t CompressCount(const ConstView& condition, int64_t extent);
struct CompressArgs {
  ConstView x;
  ConstView condition;
  View y;
  int axis = -1;
};
void Compress(const CompressArgs& args);

// The k = values.shape[axis] largest or smallest elements along `axis` with their positions
// (int64), sorted, the lower position first among equals; NaN is the largest. `scratch` has
// TopKScratch elements.
struct TopKArgs {
  ConstView x;
  View values;
  View indices;
  int axis = -1;
  bool largest = true;
  int64_t* scratch = nullptr;
};
int64_t TopKScratch(const TopKArgs& args);
void TopK(const TopKArgs& args);

// Distinct slices along `axis`, or elements of x flattened with axis -1. Two phases: UniqueFind
// fills `scratch` and returns the count; then UniqueWrite writes the outputs that have data: y,
// first [count] (position of the first occurrence), inverse [extent] and counts [count], int64.
// `sorted`: ascending, else by first occurrence.
struct UniqueArgs {
  ConstView x;
  int axis = -1;
  bool sorted = true;
  int64_t* scratch = nullptr;  // UniqueScratch elements
  View y = {};
  View first = {};
  View inverse = {};
  View counts = {};
};
int64_t UniqueScratch(const UniqueArgs& args);
int64_t UniqueFind(const UniqueArgs& args);
void UniqueWrite(const UniqueArgs& args);

}  // namespace sluice::kernels::ref

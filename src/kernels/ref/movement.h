// Reference data movement that needs no index from data: transpose, concat, split, slice, pad,
// tile, expand and their kin. Generic in the element (1, 2, 4, 8 or 16 bytes, so every dtype
// including kBytes); x and y share a dtype and never overlap. Attributes are normalised by the
// caller (graph): axes >= 0, starts clamped.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// Axis i of y is axis perm[i] of x.
struct TransposeArgs {
  ConstView x;
  View y;
  int perm[tensor::kMaxRank] = {};
};
void Transpose(const TransposeArgs& args);

// y is the inputs one behind the other along `axis`.
struct ConcatArgs {
  std::span<const ConstView> inputs;
  View y;
  int axis = 0;
};
void Concat(const ConcatArgs& args);

// x cut along `axis` into the outputs, whose extents there sum up to x's.
struct SplitArgs {
  ConstView x;
  std::span<const View> outputs;
  int axis = 0;
};
void Split(const SplitArgs& args);

// y[i] = x[start + i * step] per axis; step != 0; every index that y's shape asks for lies within x
// (CHECKed).
struct SliceArgs {
  ConstView x;
  View y;
  int64_t start[tensor::kMaxRank] = {};
  int64_t step[tensor::kMaxRank] = {1, 1, 1, 1, 1, 1, 1, 1};
};
void Slice(const SliceArgs& args);

// y[i] = x[i - before] per axis, outside of x by `mode`. before may be negative (a crop). `value`
// points to one element; null means zero bytes. kReflect, kEdge and kWrap need non-empty axes of x
// where y is not empty (CHECKed); kReflect and kWrap may reach further than one extent.
enum class PadMode : uint8_t { kConstant, kReflect, kEdge, kWrap };
struct PadArgs {
  PadMode mode = PadMode::kConstant;
  ConstView x;
  View y;
  int64_t before[tensor::kMaxRank] = {};
  const void* value = nullptr;
};
void Pad(const PadArgs& args);

// y[i] = x[i % extent] per axis; same rank.
struct TileArgs {
  ConstView x;
  View y;
};
void Tile(const TileArgs& args);

// x broadcast to y.shape from the right, as numpy does.
struct ExpandArgs {
  ConstView x;
  View y;
};
void Expand(const ExpandArgs& args);

// x [N, C * b * b, H, W] -> y [N, C, H * b, W * b]; depth-column-row order, or column-row-depth
// with `crd`.
struct DepthToSpaceArgs {
  ConstView x;
  View y;
  int64_t block = 1;
  bool crd = false;
};
void DepthToSpace(const DepthToSpaceArgs& args);
// x [N, C, H * b, W * b] -> y [N, C * b * b, H, W].
struct SpaceToDepthArgs {
  ConstView x;
  View y;
  int64_t block = 1;
};
void SpaceToDepth(const SpaceToDepthArgs& args);

// The upper (column - row >= k) or lower (column - row <= k) triangle of each matrix, zero bytes
// elsewhere.
struct TriluArgs {
  ConstView x;
  View y;
  int64_t k = 0;
  bool upper = true;
};
void Trilu(const TriluArgs& args);

// y [rows, columns] numeric or bool: 1 where column - row == k, else 0.
struct EyeArgs {
  View y;
  int64_t k = 0;
};
void Eye(const EyeArgs& args);

// y[i] = start + i * delta; start and delta hold one element of y's dtype. The count is y's.
struct RangeArgs {
  ConstView start;
  ConstView delta;
  View y;
};
void Range(const RangeArgs& args);

// The first lengths[b] steps along `time_axis` reversed; {time_axis, batch_axis} = {0, 1}. lengths
// is int64 [batch]. A length below 0 or above the time extent: kInvalidArgument.
struct ReverseSequenceArgs {
  ConstView x;
  ConstView lengths;
  View y;
  int time_axis = 0;
  int batch_axis = 1;
};
base::Status ReverseSequence(const ReverseSequenceArgs& args);

// y filled with copies of the one element at `value` (null: zero bytes).
struct FillArgs {
  View y;
  const void* value = nullptr;
};
void Fill(const FillArgs& args);

}  // namespace sluice::kernels::ref

// Fused attention over strided operands.
#include <algorithm>
#include <cstddef>

#include "graph/lower/low_attention.h"
#include "graph/lower/lowering_rules.h"
#include "graph/lower/strided_copy.h"
#include "graph/op.h"
#include "kernels/attention.h"

namespace sluice::graph {
namespace {

using kernels::AttentionArgs;
using kernels::HeadsView;
using tensor::Shape;

constexpr int64_t kBiasRowMax = 1 << 20;  // a block of keys times this fits 32 bits

void RunAttention(const void* args, kernels::Tiles tiles) {
  kernels::Attention(*static_cast<const AttentionArgs*>(args), tiles);
}

// [batch, heads, rows, columns] strides of a value of rank 2 to 4, the missing axes in front.
struct Axes {
  int64_t batch = 0, heads = 0, row = 0, column = 0;
  Ref ref;
};

Axes AxesOf(const Shape& shape, const Place& place) {
  const int rank = shape.rank();
  Axes axes;
  axes.ref = place.ref;
  axes.column = place.strides[rank - 1];
  axes.row = place.strides[rank - 2];
  if (rank == 3) axes.batch = place.strides[0];
  if (rank == 4) {
    axes.batch = place.strides[0];
    axes.heads = place.strides[1];
  }
  return axes;
}

// Copies a value in the order of `shape` and `place`, packed.
Axes CopyPacked(Lowering& lowering, const Value* value, const Shape& shape, const Place& place) {
  const StridedCopyArgs args = MakeStridedCopy(shape, place, 4);
  Place copy;
  SetPackedStrides(shape, copy);
  copy.ref = {lowering.builder().NewBuffer(shape.elements() * 4), 0};
  StepSpec spec{.run = StridedCopy,
                .tiles = StridedCopyTiles(args),
                .work = StridedCopyWork(args),
                .info = {"copy", value->name, shape.ToString(), {}}};
  lowering.builder().Add(
      std::move(spec), args,
      {{offsetof(StridedCopyArgs, src), place.ref}, {offsetof(StridedCopyArgs, dst), copy.ref}});
  return AxesOf(shape, copy);
}

// Q, V, or K^T read as K: rows of `column` elements that lie together. `transposed` swaps the last
// two axes.
Axes RowsOf(Lowering& lowering, const Value* value, bool transposed) {
  Shape shape = lowering.shape(value);
  Place place = lowering.place(value);
  const int last = shape.rank() - 1;
  if (transposed) {
    const int64_t extent = shape[last];
    shape.set_dim(last, shape[last - 1]);
    shape.set_dim(last - 1, extent);
    std::swap(place.strides[last], place.strides[last - 1]);
  }
  if (place.strides[last] == 1 || shape[last] == 1) return AxesOf(shape, place);
  return CopyPacked(lowering, value, shape, place);
}

HeadsView ViewOf(const Axes& axes) {
  return {nullptr, axes.batch, axes.heads, axes.row};
}

// The mask broadcast to the scores' shape [.., queries, keys]; copied where a row is not
// contiguous.
Axes MaskAxes(Lowering& lowering, const Value* mask, const Shape& scores) {
  const Shape& from = lowering.shape(mask);
  const Place& source = lowering.place(mask);
  Place place;
  place.ref = source.ref;
  for (int axis = 0; axis < from.rank(); ++axis) {
    const int target = scores.rank() - from.rank() + axis;
    place.strides[target] = from[axis] == 1 ? 0 : source.strides[axis];
  }
  const int last = scores.rank() - 1;
  if (place.strides[last] == 1 || scores[last] == 1) return AxesOf(scores, place);
  // Only the axes that the mask has are copied.
  Shape compact = scores;
  for (int axis = 0; axis < last; ++axis) {
    if (place.strides[axis] == 0) compact.set_dim(axis, 1);
  }
  Axes axes = CopyPacked(lowering, mask, compact, place);
  const int rank = compact.rank();
  if (compact[rank - 2] == 1) axes.row = 0;
  if (rank == 3 && compact[0] == 1) axes.batch = 0;
  if (rank == 4 && compact[0] == 1) axes.batch = 0;
  if (rank == 4 && compact[1] == 1) axes.heads = 0;
  return axes;
}

// Attention writes [batch, row, head, column] where a transpose follows, so that the transpose is a
// view.
Ref DefineOutput(Lowering& lowering, const Value* output, AttentionArgs& args) {
  const Shape& shape = lowering.shape(output);
  const int64_t columns = args.value_dim;
  if (shape.rank() == 4 && output->uses.size() == 1 && output->uses[0].node->Is("Transpose")) {
    const int64_t strides[] = {shape[1] * shape[2] * columns, columns, shape[1] * columns, 1};
    args.out_batch = strides[0];
    args.out_head = strides[1];
    args.out_row = strides[2];
    return lowering.DefineAt(output, strides);
  }
  args.out_row = columns;
  args.out_head = shape[shape.rank() - 2] * columns;
  args.out_batch = args.heads * args.out_head;
  return lowering.Define(output);
}

// Packed rows: [heads, tokens, dim] with at most an axis of 1 in front.
base::Result<bool> LowerRaggedAttention(Lowering& lowering, const Node& node) {
  const Shape& q = lowering.shape(node.input(0));
  const Shape& v = lowering.shape(node.input(2));
  const int rank = q.rank();
  const int64_t tokens = q[rank - 2];
  AttentionArgs args;
  args.batch = lowering.shape(node.input(4))[0] - 1;
  args.heads = q.elements(0, rank - 2);
  args.key_heads = lowering.shape(node.input(1)).elements(0, rank - 2);
  args.queries = std::min(tokens, node.Int("length_max", tokens));
  args.keys = args.queries;
  args.dim = q[rank - 1];
  args.value_dim = v[rank - 1];
  args.scale = node.Float("scale", 1);
  args.window_before = node.Int("window_before", -1);
  args.window_after = node.Int("window_after", -1);
  if (rank > 4 || (rank == 4 && q[0] != 1) || args.dim < 1 || args.value_dim < 1) {
    return base::InvalidArgument("node '" + node.name + "': packed heads of shape " + q.ToString());
  }
  const auto rows = [&](size_t input, bool transposed) {
    Axes axes = RowsOf(lowering, node.input(input), transposed);
    if (rank == 3) axes.heads = axes.batch;
    return axes;
  };
  const Axes q_axes = rows(0, false);
  const Axes k_axes = rows(1, true);
  const Axes v_axes = rows(2, false);
  args.q = ViewOf(q_axes);
  args.k = ViewOf(k_axes);
  args.v = ViewOf(v_axes);
  std::vector<PointerField> pointers = {{offsetof(AttentionArgs, q.data), q_axes.ref},
                                        {offsetof(AttentionArgs, k.data), k_axes.ref},
                                        {offsetof(AttentionArgs, v.data), v_axes.ref}};
  for (int i = 0; i < kernels::kRelativeBiasesMax; ++i) {
    const size_t input = 5 + 2 * static_cast<size_t>(i);
    if (node.input(input) == nullptr) break;
    const Axes bias_rows = rows(input, false);
    const Shape& columns = lowering.shape(node.input(input + 1));
    kernels::RelativeBias& bias = args.relative[i];
    bias.head = bias_rows.heads;
    bias.row_stride = bias_rows.row;
    bias.reach = (columns.elements() + 1) / 2;
    bias.factor = node.Floats("bias_factors")[static_cast<size_t>(i)];
    bias.by_key = node.Ints("biases_by_key")[static_cast<size_t>(i)] != 0;
    if (bias.reach < args.queries || bias.row_stride > kBiasRowMax) {
      return base::InvalidArgument("node '" + node.name + "': biases do not reach");
    }
    const size_t at = offsetof(AttentionArgs, relative) + sizeof(bias) * static_cast<size_t>(i);
    pointers.push_back({at + offsetof(kernels::RelativeBias, rows), bias_rows.ref});
    pointers.push_back(
        {at + offsetof(kernels::RelativeBias, columns), lowering.Packed(node.input(input + 1))});
  }
  const Ref out = DefineOutput(lowering, node.output(), args);
  const Ref starts = lowering.Packed(node.input(4));
  // Lengths are data: for the prediction all sequences are taken to be equally long.
  int64_t seen = std::max<int64_t>(1, tokens / std::max<int64_t>(1, args.batch));
  if (args.window_before >= 0 && args.window_after >= 0) {
    seen = std::min(seen, args.window_before + args.window_after + 1);
  }
  const int64_t dims = args.dim + args.value_dim;
  StepInfo info = lowering.Info(node, "attention");
  info.detail = std::to_string(args.batch) + " sequences of " + std::to_string(tokens) + " rows, " +
                std::to_string(args.heads) + " heads of " + std::to_string(args.dim);
  if (args.relative[0].reach > 0) info.detail += ", biased by content and distance";
  const kernels::Work work = {2 * args.heads * tokens * seen * dims,
                              2 * args.heads * tokens * dims * 4};
  if (TakesBrainHeads(lowering, node)) {
    AddLowAttention(
        lowering, node,
        {args, q_axes.ref, k_axes.ref, v_axes.ref, {}, starts, out, work, std::move(info)});
    return true;
  }
  StepSpec spec{.run = RunAttention,
                .tiles = kernels::AttentionTiles(args),
                .work = work,
                .info = std::move(info)};
  pointers.push_back({offsetof(AttentionArgs, sequence_starts), starts});
  pointers.push_back({offsetof(AttentionArgs, out), out});
  lowering.builder().AddBlock(std::move(spec), std::as_bytes(std::span(&args, 1)), pointers);
  return true;
}

base::Result<bool> LowerAttention(Lowering& lowering, const Node& node) {
  if (node.input(4) != nullptr) return LowerRaggedAttention(lowering, node);
  const Shape& q = lowering.shape(node.input(0));
  const Shape& k = lowering.shape(node.input(1));
  const Shape& v = lowering.shape(node.input(2));
  const int rank = q.rank();
  AttentionArgs args;
  args.batch = rank >= 3 ? q[0] : 1;
  args.heads = rank == 4 ? q[1] : 1;
  if (rank == 4) args.key_heads = k[1];
  args.queries = q[rank - 2];
  args.keys = k[rank - 1];
  args.dim = q[rank - 1];
  args.value_dim = v[rank - 1];
  args.scale = node.Float("scale", 1);
  if (args.dim < 1 || args.value_dim < 1)
    return base::InvalidArgument("node '" + node.name + "': a head of no elements");
  const Axes q_axes = RowsOf(lowering, node.input(0), false);
  const Axes k_axes = RowsOf(lowering, node.input(1), true);
  const Axes v_axes = RowsOf(lowering, node.input(2), false);
  args.q = ViewOf(q_axes);
  args.k = ViewOf(k_axes);
  args.v = ViewOf(v_axes);
  Axes mask;
  if (node.input(3) != nullptr) {
    Shape scores = q;
    scores.set_dim(rank - 1, args.keys);
    mask = MaskAxes(lowering, node.input(3), scores);
    args.mask_batch = mask.batch;
    args.mask_head = mask.heads;
    args.mask_query = mask.row;
  }
  const Ref out = DefineOutput(lowering, node.output(), args);
  StepInfo info = lowering.Info(node, "attention");
  info.detail = std::to_string(args.batch) + "x" + std::to_string(args.heads) + " heads, " +
                std::to_string(args.queries) + "x" + std::to_string(args.keys) + "x" +
                std::to_string(args.dim) + (node.input(3) != nullptr ? " masked" : "");
  if (TakesBrainHeads(lowering, node)) {
    AddLowAttention(lowering, node,
                    {args,
                     q_axes.ref,
                     k_axes.ref,
                     v_axes.ref,
                     mask.ref,
                     {},
                     out,
                     kernels::AttentionWork(args),
                     std::move(info)});
    return true;
  }
  StepSpec spec{.run = RunAttention,
                .tiles = kernels::AttentionTiles(args),
                .work = kernels::AttentionWork(args),
                .info = std::move(info)};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(AttentionArgs, q.data), q_axes.ref},
                          {offsetof(AttentionArgs, k.data), k_axes.ref},
                          {offsetof(AttentionArgs, v.data), v_axes.ref},
                          {offsetof(AttentionArgs, mask), mask.ref},
                          {offsetof(AttentionArgs, out), out}});
  return true;
}

}  // namespace

std::span<const LoweringRule> AttentionRules() {
  static constexpr LoweringRule kRules[] = {{"FusedAttention", ~0u, LowerAttention}};
  return kRules;
}

}  // namespace sluice::graph

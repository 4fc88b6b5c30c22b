// Ops whose positions come from data: gathers, scatters, one-hot, non-zero, compress, top-k,
// unique.
#include <algorithm>
#include <array>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/gather.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using kernels::ref::ScatterReduction;

// Adds the node to a kernel's message.
Status Named(const RunContext& context, Status status) {
  if (status.ok()) return status;
  return context.Fail(status.error().message);
}

// ---- Gather ----

Status InferGather(InferContext& context) {
  TRY(ExpectType(context, 1, kIndexTypes));
  const SymShape* x = context.shape(0);
  const SymShape* indices = context.shape(1);
  if (x == nullptr || indices == nullptr) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    return Ok();
  }
  const int axis =
      TRY(NormalAxis(context, context.node().Int("axis", 0), static_cast<int>(x->size())));
  SymShape result(x->begin(), x->begin() + axis);
  result.insert(result.end(), indices->begin(), indices->end());
  result.insert(result.end(), x->begin() + axis + 1, x->end());
  context.SetOutput(0, context.dtype(0), std::move(result));
  const std::optional<std::vector<Dim>> elements = context.elements(0);
  const std::optional<std::vector<int64_t>> at = context.ints(1);
  if (!elements.has_value() || !at.has_value() || x->size() != 1 || indices->size() > 1)
    return Ok();
  std::vector<Dim> picked;
  const auto count = static_cast<int64_t>(elements->size());
  for (const int64_t index : *at) {
    if (index < -count || index >= count)
      return context.Fail("index " + std::to_string(index) + " is out of range");
    picked.push_back((*elements)[static_cast<size_t>(index < 0 ? index + count : index)]);
  }
  context.SetElements(0, std::move(picked));
  return Ok();
}

Status RunGather(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::ConstView& indices = context.input(1);
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", 0), x.shape.rank()));
  if (x.shape.rank() - 1 + indices.shape.rank() > tensor::kMaxRank)
    return context.Fail("the rank is above the limit");
  Shape shape;
  for (int i = 0; i < axis; ++i) shape.Append(x.shape[i]);
  for (const int64_t extent : indices.shape.dims()) shape.Append(extent);
  for (int i = axis + 1; i < x.shape.rank(); ++i) shape.Append(x.shape[i]);
  shape = TRY(Shape::FromDims(shape.dims()));
  const tensor::View y = TRY(context.Output(0, x.dtype, shape));
  return Named(context, kernels::ref::Gather({x, indices, y, axis}));
}

// ---- GatherElements, ScatterElements ----

Status InferGatherElements(InferContext& context) {
  TRY(ExpectType(context, 1, kIndexTypes));
  context.SetOutput(0, context.dtype(0), ShapeOf(context, 1));
  return Ok();
}

// indices must have x's rank and reach no further than x on the other axes.
Status ExpectElementIndices(const RunContext& context, const Shape& x, const Shape& indices,
                            int axis) {
  bool fits = indices.rank() == x.rank();
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == axis || indices[i] <= x[i];
  if (!fits)
    return context.Fail("indices " + indices.ToString() + " do not fit data " + x.ToString());
  return Ok();
}

Status RunGatherElements(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::ConstView& indices = context.input(1);
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", 0), x.shape.rank()));
  TRY(ExpectElementIndices(context, x.shape, indices.shape, axis));
  const tensor::View y = TRY(context.Output(0, x.dtype, indices.shape));
  return Named(context, kernels::ref::GatherElements({x, indices, y, axis}));
}

std::optional<ScatterReduction> ReductionOf(const Node& node) {
  const std::string_view name = node.String("reduction", "none");
  if (name == "none") return ScatterReduction::kNone;
  if (name == "add") return ScatterReduction::kAdd;
  if (name == "mul") return ScatterReduction::kMul;
  if (name == "max") return ScatterReduction::kMax;
  if (name == "min") return ScatterReduction::kMin;
  return std::nullopt;
}

Status InferScatter(InferContext& context) {
  TRY(ExpectType(context, 1, kIndexTypes));
  TRY(ExpectSameType(context, 0, 2));
  const std::optional<ScatterReduction> reduction = ReductionOf(context.node());
  if (!reduction.has_value()) return context.Fail("reduction is not known");
  if (*reduction != ScatterReduction::kNone) TRY(ExpectType(context, 0, kNumericTypes));
  return InferSame(context);
}

Status RunScatterElements(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::ConstView& indices = context.input(1);
  const tensor::ConstView& updates = context.input(2);
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", 0), x.shape.rank()));
  TRY(ExpectElementIndices(context, x.shape, indices.shape, axis));
  if (updates.shape != indices.shape)
    return context.Fail("updates and indices must have one shape");
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  return Named(context, kernels::ref::ScatterElements(
                            {x, indices, updates, y, axis, *ReductionOf(context.node())}));
}

// ---- GatherND, ScatterND ----

Status InferGatherNd(InferContext& context) {
  TRY(ExpectType(context, 1, kIndexTypes));
  const SymShape* x = context.shape(0);
  const SymShape* indices = context.shape(1);
  const int64_t batch = context.node().Int("batch_dims", 0);
  if (batch < 0 || batch >= tensor::kMaxRank) return context.Fail("batch_dims is out of range");
  if (x == nullptr || indices == nullptr || indices->empty() || !indices->back().is_constant()) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    return Ok();
  }
  const int64_t depth = batch + indices->back().constant();
  if (indices->back().constant() < 1 || depth > static_cast<int64_t>(x->size()) ||
      batch >= static_cast<int64_t>(indices->size())) {
    return context.Fail("the indices reach deeper than the data");
  }
  SymShape result(indices->begin(), indices->end() - 1);
  result.insert(result.end(), x->begin() + depth, x->end());
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

Status RunGatherNd(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::ConstView& indices = context.input(1);
  const auto batch = static_cast<int>(context.node().Int("batch_dims", 0));
  const int rank = indices.shape.rank();
  if (rank < 1 || batch >= rank || batch >= x.shape.rank())
    return context.Fail("batch_dims is out of range");
  const int64_t tuple = indices.shape[rank - 1];
  if (tuple < 1 || batch + tuple > x.shape.rank())
    return context.Fail("the indices reach deeper than the data");
  for (int i = 0; i < batch; ++i) {
    if (x.shape[i] != indices.shape[i])
      return context.Fail("the batch extents of data and indices differ");
  }
  const int depth = batch + static_cast<int>(tuple);
  if (rank - 1 + x.shape.rank() - depth > tensor::kMaxRank)
    return context.Fail("the rank is above the limit");
  Shape shape;
  for (int i = 0; i + 1 < rank; ++i) shape.Append(indices.shape[i]);
  for (int i = depth; i < x.shape.rank(); ++i) shape.Append(x.shape[i]);
  shape = TRY(Shape::FromDims(shape.dims()));
  const tensor::View y = TRY(context.Output(0, x.dtype, shape));
  return Named(context, kernels::ref::GatherNd({x, indices, y, batch}));
}

Status RunScatterNd(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::ConstView& indices = context.input(1);
  const tensor::ConstView& updates = context.input(2);
  const int rank = indices.shape.rank();
  if (rank < 1) return context.Fail("indices must not be a scalar");
  const int64_t tuple = indices.shape[rank - 1];
  if (tuple < 1 || tuple > x.shape.rank())
    return context.Fail("the indices reach deeper than the data");
  const auto depth = static_cast<int>(tuple);
  bool fits = updates.shape.rank() == rank - 1 + x.shape.rank() - depth;
  for (int i = 0; fits && i + 1 < rank; ++i) fits = updates.shape[i] == indices.shape[i];
  for (int i = depth; fits && i < x.shape.rank(); ++i)
    fits = updates.shape[rank - 1 + i - depth] == x.shape[i];
  if (!fits) {
    return context.Fail("updates " + updates.shape.ToString() + " do not fit data " +
                        x.shape.ToString() + " and indices " + indices.shape.ToString());
  }
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  return Named(context,
               kernels::ref::ScatterNd({x, indices, updates, y, *ReductionOf(context.node())}));
}

// ---- OneHot ----

Status InferOneHot(InferContext& context) {
  TRY(ExpectType(context, 0, kNumericTypes));
  TRY(ExpectType(context, 1, kNumericTypes));
  const DType dtype = context.dtype(2);
  std::optional<SymShape> shape = ShapeOf(context, 0);
  if (shape.has_value()) {
    const int axis = TRY(
        NormalAxis(context, context.node().Int("axis", -1), static_cast<int>(shape->size()) + 1));
    const std::optional<std::vector<Dim>> depth = context.elements(1);
    const bool known =
        depth.has_value() && depth->size() == 1 && context.symbols().LowerBound((*depth)[0]) >= 0;
    shape->insert(shape->begin() + axis, known ? (*depth)[0] : context.Fresh("depth"));
  }
  context.SetOutput(0, dtype, std::move(shape));
  return Ok();
}

Status RunOneHot(RunContext& context) {
  const tensor::ConstView& indices = context.input(0);
  const tensor::ConstView& values = context.input(2);
  const double depth = TRY(ReadFloat(context, 1));
  if (!(depth >= 1 && depth < 1e12)) return context.Fail("depth is out of range");
  if (values.shape != Shape({2})) return context.Fail("values must list the off and the on value");
  const int rank = indices.shape.rank() + 1;
  if (rank > tensor::kMaxRank) return context.Fail("the rank is above the limit");
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", -1), rank));
  Shape shape;
  for (int i = 0; i < rank; ++i) {
    shape.Append(i == axis ? static_cast<int64_t>(depth) : indices.shape[i < axis ? i : i - 1]);
  }
  shape = TRY(Shape::FromDims(shape.dims()));
  const tensor::View y = TRY(context.Output(0, values.dtype, shape));
  kernels::ref::OneHot({indices, values, y, axis});
  return Ok();
}

// ---- NonZero, Compress ----

Status InferNonZero(InferContext& context) {
  TRY(ExpectType(context, 0, kNumericTypes | kBoolType));
  const SymShape* shape = context.shape(0);
  const Dim rank = shape != nullptr ? Dim(std::max<int64_t>(1, static_cast<int64_t>(shape->size())))
                                    : context.Fresh("rank");
  context.SetOutput(0, DType::kI64, SymShape{rank, context.Fresh("nonzero")});
  return Ok();
}

Status RunNonZero(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int64_t count = kernels::ref::NonZeroCount(x);
  const tensor::View y =
      TRY(context.Output(0, DType::kI64, Shape({std::max(1, x.shape.rank()), count})));
  kernels::ref::NonZero({x, y});
  return Ok();
}

Status InferCompress(InferContext& context) {
  TRY(ExpectType(context, 1, kBoolType));
  std::optional<SymShape> shape = ShapeOf(context, 0);
  if (!context.node().Has("axis")) {
    shape = SymShape{context.Fresh("compressed")};
  } else if (shape.has_value()) {
    const int axis =
        TRY(NormalAxis(context, context.node().Int("axis", 0), static_cast<int>(shape->size())));
    (*shape)[static_cast<size_t>(axis)] = context.Fresh("compressed");
  }
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return Ok();
}

Status RunCompress(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::ConstView& condition = context.input(1);
  if (condition.shape.rank() != 1) return context.Fail("the condition must be a list");
  int axis = -1;
  if (context.node().Has("axis"))
    axis = TRY(NormalAxis(context, context.node().Int("axis", 0), x.shape.rank()));
  const int64_t extent = axis < 0 ? x.shape.elements() : x.shape[axis];
  if (condition.shape[0] > extent) return context.Fail("the condition is longer than the data");
  const int64_t count = kernels::ref::CompressCount(condition, extent);
  Shape shape({count});
  if (axis >= 0) {
    shape = x.shape;
    shape.set_dim(axis, count);
  }
  const tensor::View y = TRY(context.Output(0, x.dtype, shape));
  kernels::ref::Compress({x, condition, y, axis});
  return Ok();
}

// ---- TopK ----

Status InferTopK(InferContext& context) {
  TRY(ExpectType(context, 0, kNumericTypes));
  TRY(ExpectType(context, 1, kInt64Type));
  std::optional<SymShape> shape = ShapeOf(context, 0);
  if (shape.has_value()) {
    const int axis =
        TRY(NormalAxis(context, context.node().Int("axis", -1), static_cast<int>(shape->size())));
    std::optional<std::vector<Dim>> k = context.elements(1);
    if (!context.has_input(1)) k = std::vector<Dim>{Dim(context.node().Int("k", 0))};
    const bool known =
        k.has_value() && k->size() == 1 && context.symbols().LowerBound((*k)[0]) >= 0;
    (*shape)[static_cast<size_t>(axis)] = known ? (*k)[0] : context.Fresh("k");
  }
  context.SetOutput(0, context.dtype(0), shape);
  context.SetOutput(1, DType::kI64, shape);
  return Ok();
}

Status RunTopK(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", -1), x.shape.rank()));
  const int64_t k = context.has_input(1) ? TRY(ReadInt(context, 1)) : context.node().Int("k", 0);
  if (k < 0 || k > x.shape[axis]) {
    return context.Fail("k = " + std::to_string(k) + " is outside of the axis of " +
                        std::to_string(x.shape[axis]));
  }
  Shape shape = x.shape;
  shape.set_dim(axis, k);
  kernels::ref::TopKArgs args;
  args.x = x;
  args.axis = axis;
  args.largest = context.node().Int("largest", 1) != 0;
  // The kernel writes both; one that nobody asked for goes to scratch.
  args.values = {x.dtype, shape, nullptr};
  args.indices = {DType::kI64, shape, nullptr};
  if (context.has_output(0)) {
    args.values = TRY(context.Output(0, x.dtype, shape));
  } else {
    args.values.data = TRY(context.Scratch(args.values.bytes()));
  }
  if (context.has_output(1)) {
    args.indices = TRY(context.Output(1, DType::kI64, shape));
  } else {
    args.indices.data = TRY(context.Scratch(args.indices.bytes()));
  }
  const int64_t scratch_bytes =
      kernels::ref::TopKScratch(args) * static_cast<int64_t>(sizeof(int64_t));
  args.scratch = reinterpret_cast<int64_t*>(TRY(context.Scratch(scratch_bytes)));
  kernels::ref::TopK(args);
  return Ok();
}

// The order and the values of one row, and results that nobody asked for: at most as many as x has
// elements.
int64_t TopKScratchBytes(const RunShapes& at) {
  const Shape& x = at.input_shape(0);
  const std::optional<int> axis = NormalAxis(at.node->Int("axis", -1), x.rank());
  const int64_t order = x.rank() == 0 || !axis.has_value() ? 1 : x[*axis];
  return ScratchBytes({at.has_output(0) ? 0 : x.elements() * tensor::DTypeSize(at.inputs[0].dtype),
                       at.has_output(1) ? 0 : x.elements() * 8, 2 * order * 8});
}

// ---- Unique ----

Status InferUnique(InferContext& context) {
  const Dim count = context.Fresh("unique");
  std::optional<SymShape> shape = ShapeOf(context, 0);
  if (!context.node().Has("axis")) {
    shape = SymShape{count};
  } else if (shape.has_value()) {
    const int axis =
        TRY(NormalAxis(context, context.node().Int("axis", 0), static_cast<int>(shape->size())));
    (*shape)[static_cast<size_t>(axis)] = count;
  }
  context.SetOutput(0, context.dtype(0), shape);
  context.SetOutput(1, DType::kI64, SymShape{count});
  context.SetOutput(2, DType::kI64, SymShape{context.Fresh("inverse")});
  context.SetOutput(3, DType::kI64, SymShape{count});
  return Ok();
}

Status RunUnique(RunContext& context) {
  kernels::ref::UniqueArgs args;
  args.x = context.input(0);
  const Shape& x = args.x.shape;
  if (context.node().Has("axis"))
    args.axis = TRY(NormalAxis(context, context.node().Int("axis", 0), x.rank()));
  args.sorted = context.node().Int("sorted", 1) != 0;
  const int64_t scratch_bytes =
      kernels::ref::UniqueScratch(args) * static_cast<int64_t>(sizeof(int64_t));
  args.scratch = reinterpret_cast<int64_t*>(TRY(context.Scratch(scratch_bytes)));
  const int64_t count = kernels::ref::UniqueFind(args);
  Shape shape({count});
  if (args.axis >= 0) {
    shape = x;
    shape.set_dim(args.axis, count);
  }
  const int64_t extent = args.axis < 0 ? x.elements() : x[args.axis];
  if (context.has_output(0)) args.y = TRY(context.Output(0, args.x.dtype, shape));
  if (context.has_output(1)) args.first = TRY(context.Output(1, DType::kI64, Shape({count})));
  if (context.has_output(2)) args.inverse = TRY(context.Output(2, DType::kI64, Shape({extent})));
  if (context.has_output(3)) args.counts = TRY(context.Output(3, DType::kI64, Shape({count})));
  kernels::ref::UniqueWrite(args);
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"Gather", 1, 2, 2, 1, 1, kNoTraits, InferGather, RunGather},
    {"GatherElements", 11, 2, 2, 1, 1, kNoTraits, InferGatherElements, RunGatherElements},
    {"GatherND", 11, 2, 2, 1, 1, kNoTraits, InferGatherNd, RunGatherNd},
    {"Scatter", 9, 3, 3, 1, 1, kNoTraits, InferScatter, RunScatterElements},
    {"ScatterElements", 11, 3, 3, 1, 1, kNoTraits, InferScatter, RunScatterElements},
    {"ScatterND", 11, 3, 3, 1, 1, kNoTraits, InferScatter, RunScatterNd},
    {"OneHot", 9, 3, 3, 1, 1, kNoTraits, InferOneHot, RunOneHot},
    {"NonZero", 9, 1, 1, 1, 1, kNoTraits, InferNonZero, RunNonZero},
    {"Compress", 9, 2, 2, 1, 1, kNoTraits, InferCompress, RunCompress},
    {"TopK", 1, 1, 2, 1, 2, kNoTraits, InferTopK, RunTopK, "", TopKScratchBytes},
    {"Unique", 11, 1, 1, 1, 4, kNoTraits, InferUnique, RunUnique},
});

}  // namespace

std::span<const OpDef> GatherOps() {
  return kOps;
}

}  // namespace sluice::graph

// Ops that move data to places known from attributes and shapes: transpose, concat, split, slice,
// pad, tile and kin.
#include <algorithm>
#include <array>
#include <limits>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/movement.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;

// ---- Transpose ----

// The permutation of the attribute (reversed axes when absent); an error unless it is one of `rank`
// axes.
template <class Context>
Result<std::array<int, tensor::kMaxRank>> Permutation(const Context& context, int rank) {
  std::array<int, tensor::kMaxRank> perm = {};
  const std::span<const int64_t> list = context.node().Ints("perm");
  if (!context.node().Has("perm")) {
    for (int i = 0; i < rank; ++i) perm[static_cast<size_t>(i)] = rank - 1 - i;
    return perm;
  }
  if (list.size() != static_cast<size_t>(rank)) {
    return context.Fail("perm lists " + std::to_string(list.size()) + " axes for rank " +
                        std::to_string(rank));
  }
  uint32_t seen = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    // Unlike other axes, these never count from the end.
    if (list[i] < 0 || list[i] >= rank) return context.Fail("perm is not a permutation");
    perm[i] = static_cast<int>(list[i]);
    seen |= 1u << perm[i];
  }
  if (seen != (1u << rank) - 1) return context.Fail("perm is not a permutation");
  return perm;
}

Status InferTranspose(InferContext& context) {
  const SymShape* shape = context.shape(0);
  if (shape == nullptr) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    return Ok();
  }
  const auto perm = TRY(Permutation(context, static_cast<int>(shape->size())));
  SymShape result;
  for (size_t i = 0; i < shape->size(); ++i)
    result.push_back((*shape)[static_cast<size_t>(perm[i])]);
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

Status RunTranspose(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const auto perm = TRY(Permutation(context, x.shape.rank()));
  kernels::ref::TransposeArgs args{x, {}, {}};
  Shape shape;
  for (int i = 0; i < x.shape.rank(); ++i) {
    args.perm[i] = perm[static_cast<size_t>(i)];
    shape.Append(x.shape[args.perm[i]]);
  }
  args.y = TRY(context.Output(0, x.dtype, shape));
  kernels::ref::Transpose(args);
  return Ok();
}

// ---- Concat ----

Status InferConcat(InferContext& context) {
  const DType dtype = context.dtype(0);
  for (size_t i = 0; i < context.input_count(); ++i) {
    if (!context.has_input(i)) return context.Fail("lacks input " + std::to_string(i));
    TRY(ExpectSameType(context, 0, i));
  }
  std::optional<SymShape> result = ShapeOf(context, 0);
  if (!result.has_value()) {
    context.SetOutput(0, dtype, std::nullopt);
    return Ok();
  }
  const int axis =
      TRY(NormalAxis(context, context.node().Int("axis", 0), static_cast<int>(result->size())));
  std::optional<std::vector<Dim>> elements = context.elements(0);
  for (size_t i = 1; i < context.input_count(); ++i) {
    const SymShape* shape = context.shape(i);
    if (shape == nullptr) {
      (*result)[static_cast<size_t>(axis)] = context.Fresh("concat");
      elements.reset();
      continue;
    }
    if (shape->size() != result->size()) {
      return context.Fail("input " + std::to_string(i) + " has another rank than input 0");
    }
    for (size_t k = 0; k < shape->size(); ++k) {
      Dim& dim = (*result)[k];
      if (static_cast<int>(k) == axis) {
        dim = context.symbols().Add(dim, (*shape)[k]);
      } else if (!dim.is_constant()) {
        if ((*shape)[k].is_constant()) dim = (*shape)[k];
      } else if ((*shape)[k].is_constant() && (*shape)[k] != dim) {
        return context.Fail("input " + std::to_string(i) + " has shape " +
                            context.symbols().ToString(*shape) + ", which does not fit " +
                            context.symbols().ToString(*result));
      }
    }
    const std::optional<std::vector<Dim>> more = context.elements(i);
    if (more.has_value() && elements.has_value()) {
      elements->insert(elements->end(), more->begin(), more->end());
    } else {
      elements.reset();
    }
  }
  context.SetOutput(0, dtype, std::move(result));
  if (elements.has_value()) context.SetElements(0, *std::move(elements));
  return Ok();
}

Status RunConcat(RunContext& context) {
  Shape shape = context.input(0).shape;
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", 0), shape.rank()));
  int64_t extent = 0;
  for (size_t i = 0; i < context.input_count(); ++i) {
    const Shape& other = context.input(i).shape;
    bool fits = other.rank() == shape.rank();
    for (int k = 0; fits && k < shape.rank(); ++k) fits = k == axis || other[k] == shape[k];
    if (!fits) {
      return context.Fail("input " + std::to_string(i) + " has shape " + other.ToString() +
                          ", which does not fit " + context.input(0).shape.ToString());
    }
    if (__builtin_add_overflow(extent, other[axis], &extent))
      return context.Fail("the extent overflows");
  }
  shape.set_dim(axis, extent);
  shape = TRY(Shape::FromDims(shape.dims()));
  const tensor::View y = TRY(context.Output(0, context.input(0).dtype, shape));
  kernels::ref::Concat({context.inputs(), y, axis});
  return Ok();
}

// ---- Split ----

// The extent of each output: the given list, or equal parts with a smaller last one.
Status InferSplit(InferContext& context) {
  TRY(ExpectType(context, 1, kInt64Type));
  const DType dtype = context.dtype(0);
  const std::optional<SymShape> shape = ShapeOf(context, 0);
  const size_t count = context.output_count();
  if (!shape.has_value()) {
    for (size_t i = 0; i < count; ++i) context.SetOutput(i, dtype, std::nullopt);
    return Ok();
  }
  const int axis =
      TRY(NormalAxis(context, context.node().Int("axis", 0), static_cast<int>(shape->size())));
  const Dim extent = (*shape)[static_cast<size_t>(axis)];
  const bool listed = context.has_input(1) || context.node().Has("split");
  const std::optional<std::vector<int64_t>> parts = KnownInts(context, 1, "split");
  if (listed && parts.has_value() && parts->size() != count) {
    return context.Fail("split lists " + std::to_string(parts->size()) + " parts for " +
                        std::to_string(count) + " outputs");
  }
  const auto pieces = static_cast<int64_t>(count);
  const Dim part = context.symbols().CeilDiv(extent, Dim(pieces));
  const bool even = context.symbols().IsMultipleOf(extent, pieces);
  for (size_t i = 0; i < count; ++i) {
    SymShape result = *shape;
    Dim& dim = result[static_cast<size_t>(axis)];
    if (listed) {
      dim = parts.has_value() ? Dim((*parts)[i]) : context.Fresh("split");
    } else if (!even) {
      // The last parts may be smaller, or empty when there are more outputs than elements.
      const Dim left =
          context.symbols().Sub(extent, context.symbols().Mul(part, Dim(static_cast<int64_t>(i))));
      dim = context.symbols().Max(Dim(0), context.symbols().Min(part, left));
    } else {
      dim = part;
    }
    context.SetOutput(i, dtype, std::move(result));
  }
  const std::optional<std::vector<Dim>> elements = context.elements(0);
  if (!elements.has_value() || shape->size() != 1 || (listed && !parts.has_value())) return Ok();
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!context.has_output(i)) return Ok();
    const Dim length = (*context.node().outputs[i]->shape)[0];
    if (!length.is_constant() || length.constant() < 0 ||
        static_cast<size_t>(length.constant()) > elements->size() - at) {
      return Ok();
    }
    const auto from = elements->begin() + static_cast<int64_t>(at);
    context.SetElements(i, {from, from + length.constant()});
    at += static_cast<size_t>(length.constant());
  }
  return Ok();
}

Status RunSplit(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", 0), x.shape.rank()));
  const bool listed = context.has_input(1) || context.node().Has("split");
  const Ints parts = TRY(ReadInts(context, 1, "split"));
  const auto count = static_cast<int64_t>(context.output_count());
  if (count > Ints::kMax)
    return context.Fail("Split has more than " + std::to_string(Ints::kMax) + " outputs");
  if (listed && parts.count != count)
    return context.Fail("split lists another number of parts than there are outputs");
  const int64_t equal = x.shape[axis] / count + (x.shape[axis] % count != 0 ? 1 : 0);
  int64_t left = x.shape[axis];
  tensor::View outputs[Ints::kMax];
  for (int64_t i = 0; i < count; ++i) {
    const int64_t extent = listed ? parts[i] : std::min(equal, left);
    if (extent < 0 || extent > left) return context.Fail("the parts do not sum up to the axis");
    left -= extent;
    Shape shape = x.shape;
    shape.set_dim(axis, extent);
    const auto index = static_cast<size_t>(i);
    if (context.has_output(index)) {
      outputs[i] = TRY(context.Output(index, x.dtype, shape));
    } else {
      // The kernel writes every part; one that nobody asked for goes to scratch.
      outputs[i] = {x.dtype, shape,
                    TRY(context.Scratch(shape.elements() * tensor::DTypeSize(x.dtype)))};
    }
  }
  if (left != 0) return context.Fail("the parts do not sum up to the axis");
  kernels::ref::Split({x, {outputs, static_cast<size_t>(count)}, axis});
  return Ok();
}

// Parts that nobody asked for.
int64_t SplitScratch(const RunShapes& at) {
  const auto parts = static_cast<int64_t>(at.outputs.size());
  return at.input_shape(0).elements() * tensor::DTypeSize(at.inputs[0].dtype) +
         parts * static_cast<int64_t>(tensor::kAlignment);
}

// ---- Slice ----

// One axis of a slice, clamped as ONNX says: the first index, how many, and the stride.
struct SliceAxis {
  int64_t start = 0;
  int64_t count = 0;
};

SliceAxis ClampSlice(int64_t start, int64_t end, int64_t step, int64_t extent) {
  if (start < 0) start = start < -extent ? (step > 0 ? 0 : -1) : start + extent;
  if (end < 0) end = end < -extent ? (step > 0 ? 0 : -1) : end + extent;
  if (step > 0) {
    start = std::min(start, extent);
    end = std::min(end, extent);
    return {start, end > start ? (end - start - 1) / step + 1 : 0};
  }
  start = std::min(start, extent - 1);
  end = std::min(end, extent - 1);
  // step is not INT64_MIN: checked by the callers.
  return {start, start > end ? (start - end - 1) / -step + 1 : 0};
}

// The extent of x[start:end:step] for a symbolic extent; nullopt when nothing is known.
std::optional<Dim> SymbolicSlice(SymbolTable& symbols, Dim start, Dim end, int64_t step,
                                 Dim extent) {
  if (extent.is_constant() && start.is_constant() && end.is_constant()) {
    return Dim(ClampSlice(start.constant(), end.constant(), step, extent.constant()).count);
  }
  if (step == -1 && start.Is(-1) && end.is_constant() && end.constant() < -INT32_MAX) return extent;
  if (step <= 0) return std::nullopt;
  const auto place = [&](Dim at) -> std::optional<Dim> {
    if (at.is_constant() && at.constant() >= INT32_MAX) return extent;
    if (at.is_constant() && at.constant() < 0) return symbols.Max(Dim(0), symbols.Add(extent, at));
    if (symbols.LowerBound(at) < 0) return std::nullopt;
    return symbols.Min(at, extent);
  };
  const std::optional<Dim> from = place(start);
  const std::optional<Dim> to = place(end);
  if (!from.has_value() || !to.has_value()) return std::nullopt;
  return symbols.CeilDiv(symbols.Max(Dim(0), symbols.Sub(*to, *from)), Dim(step));
}

struct SliceLists {
  std::optional<std::vector<Dim>> starts;
  std::optional<std::vector<Dim>> ends;
  std::optional<std::vector<int64_t>> axes;
  std::optional<std::vector<int64_t>> steps;
};

// Starts, ends and axes are attributes before opset 10.
SliceLists KnownSlice(const InferContext& context) {
  SliceLists lists;
  if (context.has_input(1)) {
    lists.starts = context.elements(1);
    lists.ends = context.elements(2);
  } else {
    const std::span<const int64_t> starts = context.node().Ints("starts");
    const std::span<const int64_t> ends = context.node().Ints("ends");
    lists.starts = std::vector<Dim>(starts.begin(), starts.end());
    lists.ends = std::vector<Dim>(ends.begin(), ends.end());
  }
  lists.axes = KnownInts(context, 3, "axes");
  lists.steps = KnownInts(context, 4, "");
  return lists;
}

Status SliceElements(InferContext& context, const SliceLists& lists) {
  const std::optional<std::vector<Dim>> elements = context.elements(0);
  const SymShape* shape = context.shape(0);
  if (!elements.has_value() || shape == nullptr || shape->size() != 1 || lists.starts->size() != 1)
    return Ok();
  const Dim start = (*lists.starts)[0];
  const Dim end = (*lists.ends)[0];
  if (!start.is_constant() || !end.is_constant()) return Ok();
  const int64_t step = lists.steps->empty() ? 1 : (*lists.steps)[0];
  const SliceAxis slice =
      ClampSlice(start.constant(), end.constant(), step, static_cast<int64_t>(elements->size()));
  std::vector<Dim> result;
  for (int64_t i = 0; i < slice.count; ++i)
    result.push_back((*elements)[static_cast<size_t>(slice.start + i * step)]);
  context.SetElements(0, std::move(result));
  return Ok();
}

Status InferSlice(InferContext& context) {
  for (size_t i = 1; i < 5; ++i) TRY(ExpectType(context, i, kIndexTypes));
  const DType dtype = context.dtype(0);
  std::optional<SymShape> result = ShapeOf(context, 0);
  if (!result.has_value()) {
    context.SetOutput(0, dtype, std::nullopt);
    return Ok();
  }
  const auto rank = static_cast<int>(result->size());
  const SliceLists lists = KnownSlice(context);
  if (!lists.axes.has_value()) {
    context.SetOutput(0, dtype, FreshShape(context, "slice", result->size()));
    return Ok();
  }
  // Without the lists but with their length and the axes, the other extents still stand.
  std::optional<size_t> count;
  if (lists.starts.has_value()) {
    count = lists.starts->size();
  } else if (const SymShape* starts = context.shape(1)) {
    if (starts->size() == 1 && (*starts)[0].is_constant())
      count = static_cast<size_t>((*starts)[0].constant());
  }
  if (!count.has_value()) count = lists.axes->empty() ? result->size() : lists.axes->size();
  if (*count > result->size() || (!lists.axes->empty() && lists.axes->size() != *count) ||
      (lists.ends.has_value() && lists.starts.has_value() && lists.ends->size() != *count) ||
      (lists.steps.has_value() && !lists.steps->empty() && lists.steps->size() != *count)) {
    return context.Fail("starts, ends, axes and steps do not have one length within the rank");
  }
  const bool known = lists.starts.has_value() && lists.ends.has_value() && lists.steps.has_value();
  for (size_t i = 0; i < *count; ++i) {
    const int64_t requested = lists.axes->empty() ? static_cast<int64_t>(i) : (*lists.axes)[i];
    const int axis = TRY(NormalAxis(context, requested, rank));
    Dim& dim = (*result)[static_cast<size_t>(axis)];
    std::optional<Dim> made;
    if (known) {
      const int64_t step = lists.steps->empty() ? 1 : (*lists.steps)[i];
      if (step == 0 || step == INT64_MIN) return context.Fail("a step is 0 or out of range");
      made = SymbolicSlice(context.symbols(), (*lists.starts)[i], (*lists.ends)[i], step, dim);
    }
    dim = made.has_value() ? *made : context.Fresh("slice");
  }
  context.SetOutput(0, dtype, std::move(result));
  return known ? SliceElements(context, lists) : Ok();
}

Status RunSlice(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const Ints starts = TRY(ReadInts(context, 1, "starts"));
  const Ints ends = TRY(ReadInts(context, 2, "ends"));
  const Ints axes = TRY(ReadInts(context, 3, "axes"));
  const Ints steps = TRY(ReadInts(context, 4, ""));
  const int64_t count = starts.count;
  if (ends.count != count || (axes.count != 0 && axes.count != count) ||
      (steps.count != 0 && steps.count != count) || count > x.shape.rank()) {
    return context.Fail("starts, ends, axes and steps do not have one length within the rank");
  }
  kernels::ref::SliceArgs args{x, {}};
  Shape shape = x.shape;
  for (int64_t i = 0; i < count; ++i) {
    const int axis = TRY(NormalAxis(context, axes.count == 0 ? i : axes[i], x.shape.rank()));
    const int64_t step = steps.count == 0 ? 1 : steps[i];
    if (step == 0 || step == INT64_MIN) return context.Fail("a step is 0 or out of range");
    const SliceAxis slice = ClampSlice(starts[i], ends[i], step, x.shape[axis]);
    args.start[axis] = slice.count > 0 ? slice.start : 0;
    // A step beyond the extent is used at most once; the kernel must not multiply it.
    args.step[axis] = slice.count > 1 ? step : 1;
    shape.set_dim(axis, slice.count);
  }
  args.y = TRY(context.Output(0, x.dtype, shape));
  kernels::ref::Slice(args);
  return Ok();
}

// ---- Pad ----

Result<kernels::ref::PadMode> ModeOfPad(std::string_view mode) {
  if (mode == "constant") return kernels::ref::PadMode::kConstant;
  if (mode == "reflect") return kernels::ref::PadMode::kReflect;
  if (mode == "edge") return kernels::ref::PadMode::kEdge;
  if (mode == "wrap") return kernels::ref::PadMode::kWrap;
  return base::InvalidArgument("pad mode '" + std::string(mode) + "' is not known");
}

Status InferPad(InferContext& context) {
  TRY(ExpectType(context, 1, kInt64Type));
  TRY(ExpectSameType(context, 0, 2));
  TRY(ExpectType(context, 3, kIndexTypes));
  if (!ModeOfPad(context.node().String("mode", "constant")).ok())
    return context.Fail("mode is not known");
  std::optional<SymShape> result = ShapeOf(context, 0);
  if (!result.has_value()) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    return Ok();
  }
  const auto rank = static_cast<int>(result->size());
  std::optional<std::vector<Dim>> pads = context.elements(1);
  if (!context.has_input(1)) {
    const std::span<const int64_t> list = context.node().Ints("pads");
    pads = std::vector<Dim>(list.begin(), list.end());
  }
  const std::optional<std::vector<int64_t>> axes = KnownInts(context, 3, "");
  if (!pads.has_value() || !axes.has_value()) {
    context.SetOutput(0, context.dtype(0), FreshShape(context, "padded", result->size()));
    return Ok();
  }
  const size_t count = context.has_input(3) ? axes->size() : result->size();
  if (pads->size() != 2 * count)
    return context.Fail("pads must list a beginning and an end for each axis");
  for (size_t i = 0; i < count; ++i) {
    const int64_t requested = context.has_input(3) ? (*axes)[i] : static_cast<int64_t>(i);
    const int axis = TRY(NormalAxis(context, requested, rank));
    Dim& dim = (*result)[static_cast<size_t>(axis)];
    dim = context.symbols().Add(dim, context.symbols().Add((*pads)[i], (*pads)[count + i]));
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

Status RunPad(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int rank = x.shape.rank();
  const Ints pads = TRY(ReadInts(context, 1, "pads"));
  const Ints axes = TRY(ReadInts(context, 3, ""));
  const int64_t count = context.has_input(3) ? axes.count : rank;
  if (pads.count != 2 * count)
    return context.Fail("pads must list a beginning and an end for each axis");
  kernels::ref::PadArgs args{
      .mode = TRY(ModeOfPad(context.node().String("mode", "constant"))), .x = x, .y = {}};
  Shape shape = x.shape;
  for (int64_t i = 0; i < count; ++i) {
    const int axis = TRY(NormalAxis(context, context.has_input(3) ? axes[i] : i, rank));
    int64_t extent = x.shape[axis];
    if (__builtin_add_overflow(extent, pads[i], &extent) ||
        __builtin_add_overflow(extent, pads[count + i], &extent) || extent < 0 ||
        pads[i] == INT64_MIN) {
      return context.Fail("the padded extent of axis " + std::to_string(axis) +
                          " is negative or too large");
    }
    args.before[axis] = pads[i];
    shape.set_dim(axis, extent);
  }
  shape = TRY(Shape::FromDims(shape.dims()));
  if (args.mode != kernels::ref::PadMode::kConstant && x.shape.elements() == 0 &&
      shape.elements() != 0) {
    return context.Fail("an empty tensor can only be padded with a constant");
  }
  if (context.has_input(2)) {
    if (context.input(2).shape.elements() != 1)
      return context.Fail("the padding value must be one element");
    args.value = context.input(2).data;
  }
  // Before opset 11 the value is an attribute, and float.
  const float value = context.node().Float("value", 0);
  if (!context.has_input(2) && context.node().Has("value")) {
    if (x.dtype != DType::kF32)
      return context.Fail("the attribute value is only supported for FP32");
    args.value = &value;
  }
  args.y = TRY(context.Output(0, x.dtype, shape));
  kernels::ref::Pad(args);
  return Ok();
}

// ---- Tile ----

Status InferTile(InferContext& context) {
  TRY(ExpectType(context, 1, kInt64Type));
  std::optional<SymShape> result = ShapeOf(context, 0);
  const std::optional<std::vector<Dim>> repeats = context.elements(1);
  if (result.has_value() && repeats.has_value()) {
    if (repeats->size() != result->size())
      return context.Fail("repeats must list one number for each axis");
    for (size_t i = 0; i < result->size(); ++i)
      (*result)[i] = context.symbols().Mul((*result)[i], (*repeats)[i]);
  } else if (result.has_value()) {
    result = FreshShape(context, "tiled", result->size());
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

Status RunTile(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const Ints repeats = TRY(ReadInts(context, 1));
  if (repeats.count != x.shape.rank())
    return context.Fail("repeats must list one number for each axis");
  Shape shape = x.shape;
  for (int i = 0; i < x.shape.rank(); ++i) {
    int64_t extent = 0;
    if (repeats[i] < 0 || __builtin_mul_overflow(shape[i], repeats[i], &extent)) {
      return context.Fail("repeats are negative or too large");
    }
    shape.set_dim(i, extent);
  }
  shape = TRY(Shape::FromDims(shape.dims()));
  const tensor::View y = TRY(context.Output(0, x.dtype, shape));
  kernels::ref::Tile({x, y});
  return Ok();
}

// ---- DepthToSpace, SpaceToDepth ----

Status InferDepthToSpace(InferContext& context) {
  const int64_t block = context.node().Int("blocksize", 0);
  if (block <= 0 || block > 1 << 15) return context.Fail("blocksize is out of range");
  const std::string_view mode = context.node().String("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") return context.Fail("mode must be DCR or CRD");
  std::optional<SymShape> shape = ShapeOf(context, 0);
  if (shape.has_value()) {
    if (shape->size() != 4) return context.Fail("takes a tensor of rank 4");
    SymbolTable& symbols = context.symbols();
    SymShape& dims = *shape;
    dims[1] = symbols.FloorDiv(dims[1], Dim(block * block));
    dims[2] = symbols.Mul(dims[2], Dim(block));
    dims[3] = symbols.Mul(dims[3], Dim(block));
  }
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return Ok();
}

Status RunDepthToSpace(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int64_t block = context.node().Int("blocksize", 0);
  if (x.shape.rank() != 4 || x.shape[1] % (block * block) != 0) {
    return context.Fail("cannot rearrange " + x.shape.ToString());
  }
  int64_t height = 0;
  int64_t width = 0;
  if (__builtin_mul_overflow(x.shape[2], block, &height) ||
      __builtin_mul_overflow(x.shape[3], block, &width)) {
    return context.Fail("the result is too large");
  }
  const Shape shape({x.shape[0], x.shape[1] / (block * block), height, width});
  const tensor::View y = TRY(context.Output(0, x.dtype, shape));
  kernels::ref::DepthToSpace({x, y, block, context.node().String("mode", "DCR") == "CRD"});
  return Ok();
}

Status InferSpaceToDepth(InferContext& context) {
  const int64_t block = context.node().Int("blocksize", 0);
  if (block <= 0 || block > 1 << 15) return context.Fail("blocksize is out of range");
  std::optional<SymShape> shape = ShapeOf(context, 0);
  if (shape.has_value()) {
    if (shape->size() != 4) return context.Fail("takes a tensor of rank 4");
    SymbolTable& symbols = context.symbols();
    SymShape& dims = *shape;
    dims[1] = symbols.Mul(dims[1], Dim(block * block));
    dims[2] = symbols.FloorDiv(dims[2], Dim(block));
    dims[3] = symbols.FloorDiv(dims[3], Dim(block));
  }
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return Ok();
}

Status RunSpaceToDepth(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int64_t block = context.node().Int("blocksize", 0);
  int64_t depth = 0;
  if (x.shape.rank() != 4 || x.shape[2] % block != 0 || x.shape[3] % block != 0 ||
      __builtin_mul_overflow(x.shape[1], block * block, &depth)) {
    return context.Fail("cannot rearrange " + x.shape.ToString());
  }
  const tensor::View y = TRY(context.Output(
      0, x.dtype, Shape({x.shape[0], depth, x.shape[2] / block, x.shape[3] / block})));
  kernels::ref::SpaceToDepth({x, y, block});
  return Ok();
}

// ---- Trilu, ReverseSequence ----

Status InferTrilu(InferContext& context) {
  TRY(ExpectType(context, 0, kNumericTypes | kBoolType));
  TRY(ExpectType(context, 1, kInt64Type));
  const SymShape* shape = context.shape(0);
  if (shape != nullptr && shape->size() < 2) return context.Fail("takes matrices");
  return InferSame(context);
}

Status RunTrilu(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  if (x.shape.rank() < 2) return context.Fail("takes matrices");
  const int64_t k = context.has_input(1) ? TRY(ReadInt(context, 1)) : 0;
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  // Beyond the matrix every k means the same; clamped, column - row - k cannot overflow.
  const int64_t extent = x.shape[x.shape.rank() - 1] + x.shape[x.shape.rank() - 2];
  kernels::ref::Trilu({x, y, std::clamp(k, -extent, extent), context.node().Int("upper", 1) != 0});
  return Ok();
}

Status InferReverseSequence(InferContext& context) {
  TRY(ExpectType(context, 1, kInt64Type));
  return InferSame(context);
}

Status RunReverseSequence(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int64_t time = context.node().Int("time_axis", 0);
  const int64_t batch = context.node().Int("batch_axis", 1);
  if (time + batch != 1 || time < 0 || batch < 0 || x.shape.rank() < 2) {
    return context.Fail("time_axis and batch_axis must be the first two axes");
  }
  const tensor::ConstView& lengths = context.input(1);
  if (lengths.shape != Shape({x.shape[static_cast<int>(batch)]})) {
    return context.Fail("sequence_lens must have one length for each row of the batch");
  }
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  return kernels::ref::ReverseSequence(
      {x, lengths, y, static_cast<int>(time), static_cast<int>(batch)});
}

constexpr auto kOps = std::to_array<OpDef>({
    {"Transpose", 1, 1, 1, 1, 1, kTakesStorage, InferTranspose, RunTranspose},
    {"Concat", 4, 1, -1, 1, 1, kNoTraits, InferConcat, RunConcat},
    {"Split", 1, 1, 2, 1, -1, kNoTraits, InferSplit, RunSplit, "", SplitScratch},
    {"Slice", 1, 1, 5, 1, 1, kNoTraits, InferSlice, RunSlice},
    {"Pad", 2, 1, 4, 1, 1, kNoTraits, InferPad, RunPad},
    {"Tile", 6, 2, 2, 1, 1, kNoTraits, InferTile, RunTile},
    {"DepthToSpace", 1, 1, 1, 1, 1, kNoTraits, InferDepthToSpace, RunDepthToSpace},
    {"SpaceToDepth", 1, 1, 1, 1, 1, kNoTraits, InferSpaceToDepth, RunSpaceToDepth},
    {"Trilu", 14, 1, 2, 1, 1, kNoTraits, InferTrilu, RunTrilu},
    {"ReverseSequence", 10, 2, 2, 1, 1, kNoTraits, InferReverseSequence, RunReverseSequence},
});

}  // namespace

std::span<const OpDef> MovementOps() {
  return kOps;
}

}  // namespace sluice::graph

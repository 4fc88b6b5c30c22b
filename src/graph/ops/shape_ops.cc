// Ops about shapes: reading them, changing them without moving bytes, and making tensors from
// nothing.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/elementwise.h"
#include "kernels/ref/movement.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;

// ---- Shape, Size ----

struct ShapeRange {
  int begin = 0;
  int end = 0;
};

ShapeRange RangeOf(const Node& node, int rank) {
  const auto clamp = [rank](int64_t at) {
    if (at < 0) at += rank;
    return static_cast<int>(std::clamp<int64_t>(at, 0, rank));
  };
  const ShapeRange range{clamp(node.Int("start", 0)), clamp(node.Int("end", INT32_MAX))};
  return {range.begin, std::max(range.begin, range.end)};
}

Status InferShape(InferContext& context) {
  const SymShape* shape = context.shape(0);
  if (shape == nullptr) {
    context.SetOutput(0, DType::kI64, SymShape{context.Fresh("rank")});
    return Ok();
  }
  const ShapeRange range = RangeOf(context.node(), static_cast<int>(shape->size()));
  context.SetOutput(0, DType::kI64, SymShape{Dim(range.end - range.begin)});
  context.SetElements(0, {shape->begin() + range.begin, shape->begin() + range.end});
  return Ok();
}

Status RunShape(RunContext& context) {
  const Shape& shape = context.input(0).shape;
  const ShapeRange range = RangeOf(context.node(), shape.rank());
  const tensor::View y = TRY(context.Output(0, DType::kI64, Shape({range.end - range.begin})));
  for (int i = range.begin; i < range.end; ++i) y.as<int64_t>()[i - range.begin] = shape[i];
  return Ok();
}

Status InferSize(InferContext& context) {
  context.SetOutput(0, DType::kI64, SymShape());
  if (const SymShape* shape = context.shape(0))
    context.SetElements(0, {context.symbols().Product(*shape)});
  return Ok();
}

Status RunSize(RunContext& context) {
  const tensor::View y = TRY(context.Output(0, DType::kI64, Shape()));
  y.as<int64_t>()[0] = context.input(0).shape.elements();
  return Ok();
}

// ---- Identity and its kin ----

Status InferIdentity(InferContext& context) {
  TRY(InferSame(context));
  if (std::optional<std::vector<Dim>> elements = context.elements(0))
    context.SetElements(0, *std::move(elements));
  return Ok();
}

Status RunIdentity(RunContext& context) {
  return context.Forward(0, 0, context.input(0).shape);
}

// ---- Reshape ----

// Keeps the elements of a small integer tensor whose rank stays at most 1.
void KeepElements(InferContext& context) {
  if (std::optional<std::vector<Dim>> elements = context.elements(0))
    context.SetElements(0, *std::move(elements));
}

Status InferReshape(InferContext& context) {
  TRY(ExpectType(context, 1, kInt64Type));
  const DType dtype = context.dtype(0);
  const std::optional<std::vector<Dim>> target = context.elements(1);
  const SymShape* shape = context.shape(0);
  if (!target.has_value()) {
    std::optional<SymShape> result;
    const SymShape* target_shape = context.shape(1);
    if (target_shape != nullptr && target_shape->size() == 1 && (*target_shape)[0].is_constant() &&
        (*target_shape)[0].constant() <= tensor::kMaxRank && (*target_shape)[0].constant() >= 0) {
      result = FreshShape(context, "reshaped", static_cast<size_t>((*target_shape)[0].constant()));
    }
    context.SetOutput(0, dtype, std::move(result));
    return Ok();
  }
  const bool zero_is_zero = context.node().Int("allowzero", 0) != 0;
  SymbolTable& symbols = context.symbols();
  SymShape result;
  std::optional<size_t> hole;
  for (size_t i = 0; i < target->size(); ++i) {
    Dim dim = (*target)[i];
    if (dim.Is(-1)) {
      if (hole.has_value()) return context.Fail("the target shape has more than one -1");
      hole = i;
      dim = Dim(1);
    } else if (dim.Is(0) && !zero_is_zero) {
      if (shape != nullptr && i >= shape->size())
        return context.Fail("the target shape copies a missing axis");
      dim = shape != nullptr ? (*shape)[i] : context.Fresh("reshaped");
    } else if (dim.is_constant() && dim.constant() < 0) {
      return context.Fail("the target shape has the dimension " + std::to_string(dim.constant()));
    } else if (!dim.is_constant() && symbols.LowerBound(dim) < 0) {
      // May turn out to be -1.
      dim = context.Fresh("reshaped");
    }
    result.push_back(dim);
  }
  if (hole.has_value()) {
    Dim rest = context.Fresh("reshaped");
    if (shape != nullptr) {
      const Dim total = symbols.Product(*shape);
      const Dim known = symbols.Product(result);
      if (const std::optional<Dim> exact = symbols.DivideExact(total, known)) {
        rest = *exact;
      } else if (!known.Is(0)) {
        if (total.is_constant() && known.is_constant()) {
          return context.Fail("cannot reshape " + symbols.ToString(*shape) + " to " +
                              symbols.ToString(*target));
        }
        rest = symbols.FloorDiv(total, known);
      }
    }
    result[*hole] = rest;
  } else if (shape != nullptr) {
    const Dim total = symbols.Product(*shape);
    const Dim made = symbols.Product(result);
    if (total.is_constant() && made.is_constant() && total != made) {
      return context.Fail("cannot reshape " + symbols.ToString(*shape) + " to " +
                          symbols.ToString(result));
    }
  }
  context.SetOutput(0, dtype, std::move(result));
  KeepElements(context);
  return Ok();
}

Status RunReshape(RunContext& context) {
  const Shape& shape = context.input(0).shape;
  const Ints target = TRY(ReadInts(context, 1));
  if (target.count > tensor::kMaxRank) return context.Fail("the target rank is above the limit");
  const bool zero_is_zero = context.node().Int("allowzero", 0) != 0;
  Shape result;
  int hole = -1;
  for (int i = 0; i < static_cast<int>(target.count); ++i) {
    int64_t dim = target[i];
    if (dim == -1) {
      if (hole >= 0) return context.Fail("the target shape has more than one -1");
      hole = i;
      dim = 1;
    } else if (dim == 0 && !zero_is_zero) {
      if (i >= shape.rank()) return context.Fail("the target shape copies a missing axis");
      dim = shape[i];
    }
    if (dim < 0) return context.Fail("the target shape has the dimension " + std::to_string(dim));
    result.Append(dim);
  }
  result = TRY(Shape::FromDims(result.dims()));
  const int64_t known = result.elements();
  if (hole >= 0 && known > 0 && shape.elements() % known == 0)
    result.set_dim(hole, shape.elements() / known);
  if (hole >= 0 && known == 0 && shape.elements() == 0) result.set_dim(hole, 0);
  if (result.elements() != shape.elements()) {
    return context.Fail("cannot reshape " + shape.ToString() + " to " + result.ToString());
  }
  return context.Forward(0, 0, result);
}

// ---- Flatten, Squeeze, Unsqueeze ----

Status InferFlatten(InferContext& context) {
  const SymShape* shape = context.shape(0);
  if (shape == nullptr) {
    context.SetOutput(0, context.dtype(0), FreshShape(context, "flat", 2));
    return Ok();
  }
  const auto rank = static_cast<int>(shape->size());
  int64_t axis = context.node().Int("axis", 1);
  if (axis < -rank || axis > rank)
    return context.Fail("axis " + std::to_string(axis) + " is out of range");
  if (axis < 0) axis += rank;
  const std::span<const Dim> dims(*shape);
  context.SetOutput(0, context.dtype(0),
                    SymShape{context.symbols().Product(dims.first(static_cast<size_t>(axis))),
                             context.symbols().Product(dims.subspan(static_cast<size_t>(axis)))});
  return Ok();
}

Status RunFlatten(RunContext& context) {
  const Shape& shape = context.input(0).shape;
  int64_t axis = context.node().Int("axis", 1);
  if (axis < 0) axis += shape.rank();
  if (axis < 0 || axis > shape.rank()) return context.Fail("axis is out of range");
  const int at = static_cast<int>(axis);
  return context.Forward(0, 0, Shape({shape.elements(0, at), shape.elements(at, shape.rank())}));
}

Status InferSqueeze(InferContext& context) {
  TRY(ExpectType(context, 1, kInt64Type));
  const SymShape* shape = context.shape(0);
  const std::optional<std::vector<int64_t>> axes = KnownInts(context, 1, "axes");
  const bool all = !context.has_input(1) && !context.node().Has("axes");
  if (shape == nullptr || !axes.has_value()) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    return Ok();
  }
  const auto rank = static_cast<int>(shape->size());
  uint32_t set = 0;
  for (const int64_t axis : *axes) set |= 1u << TRY(NormalAxis(context, axis, rank));
  SymShape result;
  for (int i = 0; i < rank; ++i) {
    const Dim dim = (*shape)[static_cast<size_t>(i)];
    if (all && !dim.is_constant()) {
      context.SetOutput(0, context.dtype(0), std::nullopt);
      return Ok();
    }
    const bool drop = all ? dim.Is(1) : (set >> i & 1u) != 0;
    if (drop && dim.is_constant() && !dim.Is(1))
      return context.Fail("cannot squeeze an axis of another extent than 1");
    if (!drop) result.push_back(dim);
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  KeepElements(context);
  return Ok();
}

Status RunSqueeze(RunContext& context) {
  const Shape& shape = context.input(0).shape;
  const Ints axes = TRY(ReadInts(context, 1, "axes"));
  const bool all = !context.has_input(1) && !context.node().Has("axes");
  uint32_t set = 0;
  for (const int64_t axis : axes) set |= 1u << TRY(NormalAxis(context, axis, shape.rank()));
  Shape result;
  for (int i = 0; i < shape.rank(); ++i) {
    const bool drop = all ? shape[i] == 1 : (set >> i & 1u) != 0;
    if (drop && shape[i] != 1)
      return context.Fail("cannot squeeze " + shape.ToString() + " at axis " + std::to_string(i));
    if (!drop) result.Append(shape[i]);
  }
  return context.Forward(0, 0, result);
}

Status InferUnsqueeze(InferContext& context) {
  TRY(ExpectType(context, 1, kInt64Type));
  const SymShape* shape = context.shape(0);
  const std::optional<std::vector<int64_t>> axes = KnownInts(context, 1, "axes");
  if (shape == nullptr || !axes.has_value()) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    return Ok();
  }
  const auto rank = static_cast<int>(shape->size() + axes->size());
  if (rank > tensor::kMaxRank) return context.Fail("the rank is above the limit");
  uint32_t set = 0;
  for (const int64_t axis : *axes) {
    const uint32_t bit = 1u << TRY(NormalAxis(context, axis, rank));
    if ((set & bit) != 0) return context.Fail("an axis is listed twice");
    set |= bit;
  }
  SymShape result;
  size_t from = 0;
  for (int i = 0; i < rank; ++i) result.push_back((set >> i & 1u) != 0 ? Dim(1) : (*shape)[from++]);
  context.SetOutput(0, context.dtype(0), std::move(result));
  KeepElements(context);
  return Ok();
}

Status RunUnsqueeze(RunContext& context) {
  const Shape& shape = context.input(0).shape;
  const Ints axes = TRY(ReadInts(context, 1, "axes"));
  const int64_t rank = shape.rank() + axes.count;
  if (rank > tensor::kMaxRank) return context.Fail("the rank is above the limit");
  uint32_t set = 0;
  for (const int64_t axis : axes) {
    const uint32_t bit = 1u << TRY(NormalAxis(context, axis, static_cast<int>(rank)));
    if ((set & bit) != 0) return context.Fail("an axis is listed twice");
    set |= bit;
  }
  Shape result;
  int from = 0;
  for (int i = 0; i < static_cast<int>(rank); ++i)
    result.Append((set >> i & 1u) != 0 ? 1 : shape[from++]);
  return context.Forward(0, 0, result);
}

// ---- Expand: here because its target is shape arithmetic ----

Status InferExpand(InferContext& context) {
  TRY(ExpectType(context, 1, kInt64Type));
  const std::optional<std::vector<Dim>> target = context.elements(1);
  const SymShape* shape = context.shape(0);
  if (!target.has_value() || shape == nullptr) {
    std::optional<SymShape> result;
    const SymShape* target_shape = context.shape(1);
    if (shape != nullptr && target_shape != nullptr && target_shape->size() == 1 &&
        (*target_shape)[0].is_constant() && (*target_shape)[0].constant() >= 0 &&
        (*target_shape)[0].constant() <= tensor::kMaxRank) {
      result =
          FreshShape(context, "expanded",
                     std::max(shape->size(), static_cast<size_t>((*target_shape)[0].constant())));
    }
    context.SetOutput(0, context.dtype(0), std::move(result));
    return Ok();
  }
  SymbolTable& symbols = context.symbols();
  SymShape result(std::max(target->size(), shape->size()), Dim(1));
  for (size_t i = 1; i <= result.size(); ++i) {
    const Dim a = i <= shape->size() ? (*shape)[shape->size() - i] : Dim(1);
    Dim b = i <= target->size() ? (*target)[target->size() - i] : Dim(1);
    if (b.Is(-1)) b = Dim(1);
    if (b.is_constant() && b.constant() < 0)
      return context.Fail("the target shape has a negative dimension");
    if (a.is_constant() && b.is_constant() && a != b && !a.Is(1) && !b.Is(1)) {
      return context.Fail("cannot expand " + symbols.ToString(*shape) + " to " +
                          symbols.ToString(*target));
    }
    Dim& dim = result[result.size() - i];
    if (a == b || b.Is(1)) {
      dim = a;
    } else if (a.Is(1)) {
      dim = symbols.LowerBound(b) >= 0 ? b : context.Fresh("expanded");
    } else if (a.is_constant() && symbols.LowerBound(b) >= 0) {
      dim = a;
    } else {
      dim = b.is_constant() ? b : context.Fresh("expanded");
    }
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  if (std::optional<std::vector<Dim>> elements = context.elements(0)) {
    const SymShape& made = *context.node().outputs[0]->shape;
    if (made.size() == 1 && made[0].is_constant() && elements->size() == 1 &&
        made[0].constant() <= 64) {
      context.SetElements(
          0, std::vector<Dim>(static_cast<size_t>(made[0].constant()), (*elements)[0]));
    }
  }
  return Ok();
}

Status RunExpand(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const Ints target = TRY(ReadInts(context, 1));
  if (target.count > tensor::kMaxRank) return context.Fail("the target rank is above the limit");
  Shape wanted;
  for (const int64_t dim : target) {
    if (dim < -1) return context.Fail("the target shape has the dimension " + std::to_string(dim));
    wanted.Append(dim == -1 ? 1 : dim);
  }
  const Shape shape = TRY(Broadcast(context, x.shape, wanted));
  if (shape == x.shape) return context.Forward(0, 0, shape);
  const tensor::View y = TRY(context.Output(0, x.dtype, shape));
  kernels::ref::Expand({x, y});
  return Ok();
}

// ---- Tensors from nothing ----

// Constant becomes a constant of the graph when read; what is left are empty lists of attributes.
Status InferConstant(InferContext& context) {
  return context.Fail("a Constant has none of its value attributes");
}
Status RunConstant(RunContext& context) {
  return context.Fail("a Constant has none of its value attributes");
}

Status InferConstantOfShape(InferContext& context) {
  TRY(ExpectType(context, 0, kInt64Type));
  const tensor::Tensor* value = context.node().TensorAttribute("value");
  if (value != nullptr && value->shape.elements() != 1)
    return context.Fail("value must hold one element");
  const DType dtype = value != nullptr ? value->dtype : DType::kF32;
  const std::optional<std::vector<Dim>> dims = context.elements(0);
  if (dims.has_value()) {
    for (const Dim& dim : *dims) {
      if (dim.is_constant() && dim.constant() < 0) return context.Fail("a dimension is negative");
    }
    context.SetOutput(0, dtype, *dims);
    if (dtype == DType::kI64 && dims->size() == 1 && (*dims)[0].is_constant() &&
        (*dims)[0].constant() <= 64) {
      const int64_t fill = value->view().as<int64_t>()[0];
      context.SetElements(0,
                          std::vector<Dim>(static_cast<size_t>((*dims)[0].constant()), Dim(fill)));
    }
    return Ok();
  }
  std::optional<SymShape> result;
  const SymShape* shape = context.shape(0);
  if (shape != nullptr && shape->size() == 1 && (*shape)[0].is_constant() &&
      (*shape)[0].constant() >= 0 && (*shape)[0].constant() <= tensor::kMaxRank) {
    result = FreshShape(context, "filled", static_cast<size_t>((*shape)[0].constant()));
  }
  context.SetOutput(0, dtype, std::move(result));
  return Ok();
}

Status RunConstantOfShape(RunContext& context) {
  const Ints dims = TRY(ReadInts(context, 0));
  const Shape shape = TRY(Shape::FromDims({dims.values, static_cast<size_t>(dims.count)}));
  const tensor::Tensor* value = context.node().TensorAttribute("value");
  const DType dtype = value != nullptr ? value->dtype : DType::kF32;
  const tensor::View y = TRY(context.Output(0, dtype, shape));
  kernels::ref::Fill({y, value != nullptr ? value->view().data : nullptr});
  return Ok();
}

constexpr TypeSet kRangeTypes =
    Types({DType::kF32, DType::kF64, DType::kI16, DType::kI32, DType::kI64});

Status InferRange(InferContext& context) {
  TRY(ExpectType(context, 0, kRangeTypes));
  TRY(ExpectSameType(context, 0, 1));
  TRY(ExpectSameType(context, 0, 2));
  const DType dtype = context.dtype(0);
  const std::optional<std::vector<Dim>> start = context.elements(0);
  const std::optional<std::vector<Dim>> limit = context.elements(1);
  const std::optional<std::vector<Dim>> delta = context.elements(2);
  SymbolTable& symbols = context.symbols();
  if (dtype == DType::kI64 && start.has_value() && limit.has_value() && delta.has_value() &&
      start->size() == 1 && limit->size() == 1 && delta->size() == 1 && (*delta)[0].is_constant() &&
      (*delta)[0].constant() > 0) {
    const Dim count =
        symbols.Max(Dim(0), symbols.CeilDiv(symbols.Sub((*limit)[0], (*start)[0]), (*delta)[0]));
    context.SetOutput(0, dtype, SymShape{count});
    if (!count.is_constant() || count.constant() > 64) return Ok();
    std::vector<Dim> elements;
    for (int64_t i = 0; i < count.constant(); ++i) {
      elements.push_back(symbols.Add((*start)[0], symbols.Mul(Dim(i), (*delta)[0])));
    }
    context.SetElements(0, std::move(elements));
    return Ok();
  }
  context.SetOutput(0, dtype, SymShape{context.Fresh("range")});
  return Ok();
}

Status RunRange(RunContext& context) {
  const DType dtype = context.input(0).dtype;
  int64_t count = 0;
  if (tensor::IsFloat(dtype)) {
    const double start = TRY(ReadFloat(context, 0));
    const double limit = TRY(ReadFloat(context, 1));
    const double delta = TRY(ReadFloat(context, 2));
    const double steps = std::ceil((limit - start) / delta);
    if (!(steps < 9e18)) return context.Fail("the range is not finite");
    count = steps > 0 ? static_cast<int64_t>(steps) : 0;
  } else {
    const int64_t start = TRY(ReadInt(context, 0));
    const int64_t limit = TRY(ReadInt(context, 1));
    const int64_t delta = TRY(ReadInt(context, 2));
    if (delta == 0) return context.Fail("delta is 0");
    int64_t span = 0;
    if (delta == INT64_MIN || __builtin_sub_overflow(limit, start, &span))
      return context.Fail("the range is too long");
    if ((span > 0) == (delta > 0) && span != 0) count = span / delta + (span % delta != 0 ? 1 : 0);
  }
  const tensor::View y = TRY(context.Output(0, dtype, Shape({count})));
  kernels::ref::Range({context.input(0), context.input(2), y});
  return Ok();
}

Status InferEyeLike(InferContext& context) {
  const std::optional<SymShape> shape = ShapeOf(context, 0);
  if (shape.has_value() && shape->size() != 2) return context.Fail("EyeLike takes a matrix");
  const int64_t code = context.node().Int("dtype", 0);
  const std::optional<DType> dtype = code == 0 ? context.dtype(0) : DTypeFromOnnx(code);
  if (!dtype.has_value() || *dtype == DType::kBytes) return context.Fail("dtype is not supported");
  context.SetOutput(0, *dtype, shape);
  return Ok();
}

Status RunEyeLike(RunContext& context) {
  const Shape& shape = context.input(0).shape;
  if (shape.rank() != 2) return context.Fail("EyeLike takes a matrix");
  const tensor::View y = TRY(context.Output(0, context.node().outputs[0]->dtype, shape));
  kernels::ref::Eye({y, context.node().Int("k", 0)});
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"Shape", 1, 1, 1, 1, 1, kTakesStorage, InferShape, RunShape},
    {"Size", 1, 1, 1, 1, 1, kTakesStorage, InferSize, RunSize},
    {"Identity", 1, 1, 1, 1, 1, kElementwise | kView | kTakesStorage, InferIdentity, RunIdentity},
    {"Reshape", 5, 2, 2, 1, 1, kView | kTakesStorage, InferReshape, RunReshape},
    {"Flatten", 1, 1, 1, 1, 1, kView | kTakesStorage, InferFlatten, RunFlatten},
    {"Squeeze", 1, 1, 2, 1, 1, kView | kTakesStorage, InferSqueeze, RunSqueeze},
    {"Unsqueeze", 1, 1, 2, 1, 1, kView | kTakesStorage, InferUnsqueeze, RunUnsqueeze},
    {"Expand", 8, 2, 2, 1, 1, kNoTraits, InferExpand, RunExpand},
    {"Constant", 1, 0, 0, 1, 1, kNoTraits, InferConstant, RunConstant},
    {"ConstantOfShape", 9, 1, 1, 1, 1, kNoTraits, InferConstantOfShape, RunConstantOfShape},
    {"Range", 11, 3, 3, 1, 1, kNoTraits, InferRange, RunRange},
    {"EyeLike", 9, 1, 1, 1, 1, kNoTraits, InferEyeLike, RunEyeLike},
});

}  // namespace

std::span<const OpDef> ShapeOps() {
  return kOps;
}

}  // namespace sluice::graph

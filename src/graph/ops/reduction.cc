// Reductions over axes, arg-reductions, running sums and the softmax family.
#include <array>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/reduce.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Status;
using kernels::ref::ReduceOp;
using kernels::ref::SoftmaxOp;

constexpr TypeSet kReduceTypes = kNumericTypes;

// ---- Reduce* ----

// Axes are an attribute in older opsets and input 1 in newer ones; both are read wherever they
// stand.
template <TypeSet types>
Status InferReduce(InferContext& context) {
  TRY(ExpectType(context, 0, types));
  TRY(ExpectType(context, 1, kInt64Type));
  const bool keep = context.node().Int("keepdims", 1) != 0;
  const SymShape* shape = context.shape(0);
  const std::optional<std::vector<int64_t>> axes = KnownInts(context, 1, "axes");
  const DType dtype = context.dtype(0);
  if (shape == nullptr) {
    context.SetOutput(0, dtype, std::nullopt);
    return Ok();
  }
  const auto rank = static_cast<int>(shape->size());
  if (!axes.has_value()) {
    context.SetOutput(0, dtype,
                      keep ? std::optional<SymShape>(FreshShape(context, "reduced", shape->size()))
                           : std::nullopt);
    return Ok();
  }
  uint32_t set = 0;
  for (const int64_t axis : *axes) set |= 1u << TRY(NormalAxis(context, axis, rank));
  if (axes->empty() && context.node().Int("noop_with_empty_axes", 0) == 0) set = ~0u;
  SymShape result;
  for (int i = 0; i < rank; ++i) {
    if ((set >> i & 1u) == 0) {
      result.push_back((*shape)[static_cast<size_t>(i)]);
    } else if (keep) {
      result.emplace_back(1);
    }
  }
  context.SetOutput(0, dtype, std::move(result));
  return Ok();
}

// Exporters multiply the extents of a shape.
Status InferReduceProd(InferContext& context) {
  TRY(InferReduce<kReduceTypes>(context));
  const std::optional<std::vector<Dim>> elements = context.elements(0);
  const std::optional<std::vector<int64_t>> axes = KnownInts(context, 1, "axes");
  const SymShape* shape = context.shape(0);
  if (!elements.has_value() || !axes.has_value() || shape == nullptr || shape->size() != 1)
    return Ok();
  if (axes->empty() && context.node().Int("noop_with_empty_axes", 0) != 0) return Ok();
  context.SetElements(0, {context.symbols().Product(*elements)});
  return Ok();
}

template <ReduceOp op>
Status RunReduce(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const Ints axes = TRY(ReadInts(context, 1, "axes"));
  const bool keep = context.node().Int("keepdims", 1) != 0;
  const int rank = x.shape.rank();
  uint32_t set = 0;
  for (const int64_t axis : axes) set |= 1u << TRY(NormalAxis(context, axis, rank));
  if (axes.count == 0 && context.node().Int("noop_with_empty_axes", 0) == 0) set = (1u << rank) - 1;
  Shape shape;
  for (int i = 0; i < rank; ++i) {
    if ((set >> i & 1u) == 0) {
      shape.Append(x.shape[i]);
    } else if (keep) {
      shape.Append(1);
    }
  }
  const tensor::View y = TRY(context.Output(0, x.dtype, shape));
  kernels::ref::Reduce({op, x, y, set});
  return Ok();
}

// ---- ArgMax, ArgMin ----

Status InferArgReduce(InferContext& context) {
  TRY(ExpectType(context, 0, kReduceTypes));
  const SymShape* shape = context.shape(0);
  if (shape == nullptr) {
    context.SetOutput(0, DType::kI64, std::nullopt);
    return Ok();
  }
  const int axis =
      TRY(NormalAxis(context, context.node().Int("axis", 0), static_cast<int>(shape->size())));
  SymShape result = *shape;
  if (context.node().Int("keepdims", 1) != 0) {
    result[static_cast<size_t>(axis)] = Dim(1);
  } else {
    result.erase(result.begin() + axis);
  }
  context.SetOutput(0, DType::kI64, std::move(result));
  return Ok();
}

template <bool largest>
Status RunArgReduce(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", 0), x.shape.rank()));
  if (x.shape[axis] == 0)
    return context.Fail("the reduced axis of " + x.shape.ToString() + " is empty");
  const bool keep = context.node().Int("keepdims", 1) != 0;
  Shape shape;
  for (int i = 0; i < x.shape.rank(); ++i) {
    if (i != axis) {
      shape.Append(x.shape[i]);
    } else if (keep) {
      shape.Append(1);
    }
  }
  const tensor::View y = TRY(context.Output(0, DType::kI64, shape));
  kernels::ref::ArgReduce({.x = x,
                           .y = y,
                           .axis = axis,
                           .largest = largest,
                           .select_last = context.node().Int("select_last_index", 0) != 0});
  return Ok();
}

// ---- CumSum ----

Status InferCumulative(InferContext& context) {
  TRY(ExpectType(context, 0, kNumericTypes));
  TRY(ExpectType(context, 1, kIndexTypes));
  return InferSame(context);
}

template <bool product>
Status RunCumulative(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const int64_t requested = TRY(ReadInt(context, 1));
  const int axis = TRY(NormalAxis(context, requested, x.shape.rank()));
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::Cumulative({.x = x,
                            .y = y,
                            .axis = axis,
                            .exclusive = context.node().Int("exclusive", 0) != 0,
                            .reverse = context.node().Int("reverse", 0) != 0,
                            .product = product});
  return Ok();
}

// ---- Softmax ----

Status InferSoftmax(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes));
  return InferSame(context);
}

template <SoftmaxOp op>
Status RunSoftmax(RunContext& context) {
  tensor::ConstView x = context.input(0);
  tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  if (x.shape.elements() == 0) return Ok();
  if (x.shape.rank() == 0) {
    x.shape = Shape({1});
    y.shape = x.shape;
  }
  const int axis = TRY(NormalAxis(context, context.node().Int("axis", -1), x.shape.rank()));
  kernels::ref::Softmax({op, x, y, axis});
  return Ok();
}

// Before opset 13 the input counts as a matrix: the axes from `axis` on are one.
template <SoftmaxOp op>
Status RunFlatSoftmax(RunContext& context) {
  tensor::ConstView x = context.input(0);
  tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  int64_t from = context.node().Int("axis", 1);
  if (from < 0) from += x.shape.rank();
  if (from < 0 || from > x.shape.rank()) return context.Fail("axis is out of range");
  const int axis = static_cast<int>(from);
  if (x.shape.elements() == 0) return Ok();
  const int64_t rows = x.shape.elements(0, axis);
  x.shape = Shape({rows, x.shape.elements() / rows});
  y.shape = x.shape;
  kernels::ref::Softmax({op, x, y, 1});
  return Ok();
}

constexpr OpDef Reduction(std::string_view name, Status (*infer)(InferContext&),
                          Status (*run)(RunContext&)) {
  return {name, 1, 1, 2, 1, 1, kNoTraits, infer, run};
}

constexpr auto kOps = std::to_array<OpDef>({
    Reduction("ReduceSum", InferReduce<kReduceTypes>, RunReduce<ReduceOp::kSum>),
    Reduction("ReduceMean", InferReduce<kReduceTypes>, RunReduce<ReduceOp::kMean>),
    Reduction("ReduceMax", InferReduce<kReduceTypes | kBoolType>, RunReduce<ReduceOp::kMax>),
    Reduction("ReduceMin", InferReduce<kReduceTypes | kBoolType>, RunReduce<ReduceOp::kMin>),
    Reduction("ReduceProd", InferReduceProd, RunReduce<ReduceOp::kProd>),
    Reduction("ReduceL1", InferReduce<kReduceTypes>, RunReduce<ReduceOp::kL1>),
    Reduction("ReduceL2", InferReduce<kReduceTypes>, RunReduce<ReduceOp::kL2>),
    Reduction("ReduceLogSum", InferReduce<kReduceTypes>, RunReduce<ReduceOp::kLogSum>),
    Reduction("ReduceLogSumExp", InferReduce<kReduceTypes>, RunReduce<ReduceOp::kLogSumExp>),
    Reduction("ReduceSumSquare", InferReduce<kReduceTypes>, RunReduce<ReduceOp::kSumSquare>),
    {"ArgMax", 1, 1, 1, 1, 1, kNoTraits, InferArgReduce, RunArgReduce<true>},
    {"ArgMin", 1, 1, 1, 1, 1, kNoTraits, InferArgReduce, RunArgReduce<false>},
    {"CumSum", 11, 2, 2, 1, 1, kNoTraits, InferCumulative, RunCumulative<false>},
    {"CumProd", 26, 2, 2, 1, 1, kNoTraits, InferCumulative, RunCumulative<true>},
    {"Softmax", 1, 1, 1, 1, 1, kNoTraits, InferSoftmax, RunFlatSoftmax<SoftmaxOp::kSoftmax>},
    {"Softmax", 13, 1, 1, 1, 1, kNoTraits, InferSoftmax, RunSoftmax<SoftmaxOp::kSoftmax>},
    {"LogSoftmax", 1, 1, 1, 1, 1, kNoTraits, InferSoftmax, RunFlatSoftmax<SoftmaxOp::kLogSoftmax>},
    {"LogSoftmax", 13, 1, 1, 1, 1, kNoTraits, InferSoftmax, RunSoftmax<SoftmaxOp::kLogSoftmax>},
    {"Hardmax", 1, 1, 1, 1, 1, kNoTraits, InferSoftmax, RunFlatSoftmax<SoftmaxOp::kHardmax>},
    {"Hardmax", 13, 1, 1, 1, 1, kNoTraits, InferSoftmax, RunSoftmax<SoftmaxOp::kHardmax>},
});

}  // namespace

std::span<const OpDef> ReductionOps() {
  return kOps;
}

}  // namespace sluice::graph

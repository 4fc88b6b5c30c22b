// What models of ai.onnx.ml are spelled in besides ONNX's own ops: sums over decision trees and
// look-ups of values. Made by the reader alone, which has checked the constants they read.
#include <array>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/trees.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Status;

// TreeSums(x [N, F] f32 or f64, nodes u8, roots i32 [trees, 2], leaf_begin i32, leaf_targets i32,
// leaf_weights, masks u8: kernels/tree_masks.h) -> [N, targets] of x's type: kernels/trees.h.
// Attributes: "targets", "features" (at least this many must come), "questions", "aggregate" (0
// sum, 1 minimum, 2 maximum), "special", "single" (each leaf holds one number, for target 0).
Status InferTreeSums(InferContext& context) {
  TRY(ExpectType(context, 0, Types({DType::kF32, DType::kF64})));
  TRY(ExpectSameType(context, 0, 5));
  std::optional<SymShape> result;
  if (const SymShape* x = context.shape(0)) {
    if (x->size() != 2)
      return context.Fail("takes rows of features, has rank " + std::to_string(x->size()));
    result = SymShape{(*x)[0], Dim(context.node().Int("targets", 1))};
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

Status RunTreeSums(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  if (x.shape.rank() != 2 || x.shape[1] < context.node().Int("features", 0)) {
    return context.Fail("needs at least " + std::to_string(context.node().Int("features", 0)) +
                        " features, has " + x.shape.ToString());
  }
  const int64_t targets = context.node().Int("targets", 1);
  TRY(context.TakeWork(Operations({x.shape[0], context.node().Int("questions", 1), targets})));
  const tensor::View y = TRY(context.Output(0, x.dtype, Shape({x.shape[0], targets})));
  kernels::ref::Trees(
      {x, context.input(1), context.input(2), context.input(3), context.input(4), context.input(5),
       y, static_cast<kernels::ref::TreeAggregate>(context.node().Int("aggregate", 0))});
  return Ok();
}

// MapValues(x, keys [K] of x's type sorted, values [K], fallback of one element):
// kernels/ref/trees.h.
Status InferMapValues(InferContext& context) {
  TRY(ExpectType(
      context, 0,
      Types({DType::kI16, DType::kI32, DType::kI64, DType::kF32, DType::kF64, DType::kBytes})));
  TRY(ExpectSameType(context, 0, 1));
  TRY(ExpectSameType(context, 2, 3));
  context.SetOutput(0, context.dtype(2), ShapeOf(context, 0));
  return Ok();
}

Status RunMapValues(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::View y = TRY(context.Output(0, context.input(2).dtype, x.shape));
  kernels::ref::MapValues({x, context.input(1), context.input(2), context.input(3), y});
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"TreeSums", 1, 7, 7, 1, 1, kNoTraits, InferTreeSums, RunTreeSums, kOurDomain},
    {"MapValues", 1, 4, 4, 1, 1, kNoTraits, InferMapValues, RunMapValues, kOurDomain},
});

}  // namespace

std::span<const OpDef> TreeOps() {
  return kOps;
}

}  // namespace sluice::graph

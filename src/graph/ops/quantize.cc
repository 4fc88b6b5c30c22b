// Quantisation: linear and dynamic, and the products and convolutions of quantised tensors.
#include <algorithm>
#include <array>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/elementwise.h"
#include "kernels/ref/lanes.h"
#include "kernels/ref/product.h"
#include "kernels/ref/quantize.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;

constexpr TypeSet kQuantTypes = Types({DType::kI8, DType::kU8, DType::kI16, DType::kU16});
constexpr TypeSet kStorageTypes =
    Types({DType::kF8E4M3FN, DType::kF8E4M3FNUZ, DType::kF8E5M2, DType::kF8E5M2FNUZ, DType::kF4E2M1,
           DType::kI4, DType::kU4, DType::kI2, DType::kU2});
constexpr TypeSet kByteTypes = Types({DType::kI8, DType::kU8});
constexpr TypeSet kScaleTypes = Types({DType::kF32, DType::kF16, DType::kBF16});

// ---- QuantizeLinear, DequantizeLinear ----

// The grid that the attributes describe, once scale and zero point are found to lie on it.
Result<kernels::ref::QuantGrid> ReadGrid(const RunContext& context) {
  const Shape& x = context.input(0).shape;
  const Shape& scale = context.input(1).shape;
  kernels::ref::QuantGrid grid;
  grid.block = context.node().Int("block_size", 0);
  if (context.has_input(2) && context.input(2).shape.elements() != scale.elements()) {
    return context.Fail("scale and zero point must have one shape");
  }
  if (grid.block == 0 && scale.elements() == 1) {
    grid.axis = 0;
    return grid;
  }
  grid.axis = TRY(NormalAxis(context, context.node().Int("axis", 1), x.rank()));
  bool fits = grid.block >= 0;
  if (grid.block == 0) {
    fits = scale == Shape({x[grid.axis]});
  } else if (fits) {
    fits = scale.rank() == x.rank();
    for (int i = 0; fits && i < x.rank(); ++i) {
      const int64_t blocks = x[i] / grid.block + (x[i] % grid.block != 0 ? 1 : 0);
      fits = scale[i] == (i == grid.axis ? blocks : x[i]);
    }
  }
  if (!fits) return context.Fail("scale " + scale.ToString() + " does not fit " + x.ToString());
  return grid;
}

Status InferQuantizeLinear(InferContext& context) {
  TRY(ExpectType(context, 0, kScaleTypes | Types({DType::kI32})));
  TRY(ExpectType(context, 1, kScaleTypes));
  TRY(ExpectType(context, 2, kQuantTypes | kStorageTypes));
  if (context.node().Int("precision", 0) != 0 && context.node().Int("precision", 0) != 1) {
    return context.Fail("only a precision of FP32 is supported");
  }
  const int64_t code = context.node().Int("output_dtype", 0);
  DType dtype = DType::kU8;
  if (context.has_input(2)) dtype = context.dtype(2);
  if (code != 0) {
    const std::optional<DType> wanted = DTypeFromOnnx(code);
    if (!wanted.has_value() ||
        ((kQuantTypes | kStorageTypes) >> static_cast<unsigned>(*wanted) & 1u) == 0) {
      return context.Fail("output_dtype " + std::to_string(code) + " is not supported");
    }
    if (context.has_input(2) && *wanted != dtype)
      return context.Fail("output_dtype disagrees with the zero point");
    dtype = *wanted;
  }
  context.SetOutput(0, dtype, ShapeOf(context, 0));
  return Ok();
}

Status RunQuantizeLinear(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const kernels::ref::QuantGrid grid = TRY(ReadGrid(context));
  const tensor::View y = TRY(context.Output(0, context.node().outputs[0]->dtype, x.shape));
  kernels::ref::QuantizeLinear(
      {x, context.input(1), context.input(2), y, grid, context.node().Int("saturate", 1) != 0});
  return Ok();
}

Status InferDequantizeLinear(InferContext& context) {
  TRY(ExpectType(context, 0, kQuantTypes | kStorageTypes | Types({DType::kI32})));
  TRY(ExpectType(context, 1, kScaleTypes));
  TRY(ExpectSameType(context, 0, 2));
  const int64_t code = context.node().Int("output_dtype", 0);
  DType dtype = context.dtype(1);
  if (code != 0) {
    const std::optional<DType> wanted = DTypeFromOnnx(code);
    if (!wanted.has_value() || (kScaleTypes >> static_cast<unsigned>(*wanted) & 1u) == 0) {
      return context.Fail("output_dtype " + std::to_string(code) + " is not supported");
    }
    dtype = *wanted;
  }
  context.SetOutput(0, dtype, ShapeOf(context, 0));
  return Ok();
}

Status RunDequantizeLinear(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const kernels::ref::QuantGrid grid = TRY(ReadGrid(context));
  const tensor::View y = TRY(context.Output(0, context.node().outputs[0]->dtype, x.shape));
  kernels::ref::DequantizeLinear({x, context.input(1), context.input(2), y, grid});
  return Ok();
}

// ---- DynamicQuantizeLinear ----

Status InferDynamicQuantize(InferContext& context) {
  TRY(ExpectType(context, 0, Types({DType::kF32})));
  context.SetOutput(0, DType::kU8, ShapeOf(context, 0));
  context.SetOutput(1, DType::kF32, SymShape());
  context.SetOutput(2, DType::kU8, SymShape());
  return Ok();
}

// Output i, or scratch of the same shape when nobody asked for it.
Result<tensor::View> OutputOrScratch(RunContext& context, size_t i, DType dtype,
                                     const Shape& shape) {
  if (context.has_output(i)) return context.Output(i, dtype, shape);
  const int64_t bytes = TRY(tensor::CheckedBytes(shape, tensor::DTypeSize(dtype)));
  return tensor::View{dtype, shape, TRY(context.Scratch(bytes))};
}

Status RunDynamicQuantize(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::View y = TRY(OutputOrScratch(context, 0, DType::kU8, x.shape));
  const tensor::View scale = TRY(OutputOrScratch(context, 1, DType::kF32, Shape()));
  const tensor::View zero = TRY(OutputOrScratch(context, 2, DType::kU8, Shape()));
  kernels::ref::DynamicQuantize({x, y, scale, zero});
  return Ok();
}

int64_t DynamicQuantizeScratch(const RunShapes& at) {
  return ScratchBytes({at.has_output(0) ? 0 : at.input_shape(0).elements(), 4, 4});
}

// ---- QLinearMatMul ----

enum QInput : size_t { kA, kAScale, kAZero, kB, kBScale, kBZero, kYScale, kYZero };

Status InferQLinearMatMul(InferContext& context) {
  for (const QInput input : {kA, kB, kYZero}) TRY(ExpectType(context, input, kByteTypes));
  for (const QInput input : {kAScale, kBScale, kYScale})
    TRY(ExpectType(context, input, kScaleTypes));
  TRY(ExpectSameType(context, kA, kAZero));
  TRY(ExpectSameType(context, kB, kBZero));
  const SymShape* a = context.shape(kA);
  const SymShape* b = context.shape(kB);
  std::optional<SymShape> result;
  if (a != nullptr && b != nullptr) {
    if (a->size() < 2 || b->size() < 2) return context.Fail("takes matrices");
    result = SymShape(std::max(a->size(), b->size()), Dim(1));
    for (size_t i = 3; i <= result->size(); ++i) {
      const Dim x = i <= a->size() ? (*a)[a->size() - i] : Dim(1);
      const Dim y = i <= b->size() ? (*b)[b->size() - i] : Dim(1);
      (*result)[result->size() - i] = BroadcastDims(context.symbols(), x, y);
    }
    (*result)[result->size() - 2] = (*a)[a->size() - 2];
    (*result)[result->size() - 1] = (*b)[b->size() - 1];
  }
  context.SetOutput(0, context.dtype(kYZero), std::move(result));
  return Ok();
}

// Rescales the int32 sums in place of nothing: y = quantise(sums * a_scale * b_scale[axis] ,
// y_scale, y_zero).
struct RequantArgs {
  tensor::ConstView sums;
  tensor::ConstView a_scale;
  tensor::ConstView b_scale;
  tensor::ConstView y_scale;
  tensor::ConstView y_zero;
  tensor::View y;
  int axis = 0;  // of y along which b_scale has an element each
};

Status Requantize(RunContext& context, const RequantArgs& args) {
  const int64_t count = args.b_scale.shape.elements();
  const Shape& shape = args.y.shape;
  if (args.a_scale.shape.elements() != 1 || args.y_scale.shape.elements() != 1 ||
      args.y_zero.shape.elements() != 1 || (count != 1 && count != shape[args.axis])) {
    return context.Fail(
        "only the second operand's scale may have more than one element, one for each column");
  }
  auto* scales = reinterpret_cast<float*>(TRY(context.Scratch(count * 4)));
  const auto a_scale = kernels::ref::LoadOne<double>(args.a_scale.dtype, args.a_scale.data, 0);
  for (int64_t i = 0; i < count; ++i) {
    scales[i] = static_cast<float>(
        a_scale * kernels::ref::LoadOne<double>(args.b_scale.dtype, args.b_scale.data, i));
  }
  const int64_t bytes = TRY(tensor::CheckedBytes(shape, 4));
  const tensor::View real{DType::kF32, shape, TRY(context.Scratch(bytes))};
  const tensor::ConstView scale_view{DType::kF32, Shape({count}), scales};
  kernels::ref::DequantizeLinear({args.sums, scale_view, {}, real, {args.axis, 0}});
  kernels::ref::QuantizeLinear({real, args.y_scale, args.y_zero, args.y, {0, 0}, true});
  return Ok();
}

Status RunQLinearMatMul(RunContext& context) {
  const tensor::ConstView& a = context.input(kA);
  const tensor::ConstView& b = context.input(kB);
  const int rank_a = a.shape.rank();
  const int rank_b = b.shape.rank();
  if (rank_a < 2 || rank_b < 2 || a.shape[rank_a - 1] != b.shape[rank_b - 2]) {
    return context.Fail("cannot multiply " + a.shape.ToString() + " by " + b.shape.ToString());
  }
  Shape batch_a;
  Shape batch_b;
  for (int i = 0; i + 2 < rank_a; ++i) batch_a.Append(a.shape[i]);
  for (int i = 0; i + 2 < rank_b; ++i) batch_b.Append(b.shape[i]);
  Shape shape = TRY(Broadcast(context, batch_a, batch_b));
  shape.Append(a.shape[rank_a - 2]);
  shape.Append(b.shape[rank_b - 1]);
  const int64_t bytes = TRY(tensor::CheckedBytes(shape, 4));
  const int64_t b_zeros = context.input(kBZero).shape.elements();
  if (context.input(kAZero).shape.elements() != 1 ||
      (b_zeros != 1 && context.input(kBZero).shape != Shape({shape[shape.rank() - 1]}))) {
    return context.Fail("a zero point has a wrong shape");
  }
  TRY(context.TakeWork(Operations({shape.elements(), a.shape[rank_a - 1]})));
  const tensor::View sums{DType::kI32, shape, TRY(context.Scratch(bytes))};
  kernels::ref::MatMulInteger({a, b, context.input(kAZero), context.input(kBZero), sums});
  const tensor::View y = TRY(context.Output(0, context.input(kYZero).dtype, shape));
  return Requantize(context, {.sums = sums,
                              .a_scale = context.input(kAScale),
                              .b_scale = context.input(kBScale),
                              .y_scale = context.input(kYScale),
                              .y_zero = context.input(kYZero),
                              .y = y,
                              .axis = shape.rank() - 1});
}

// Sums, scales, and the real numbers between them and the output.
int64_t QLinearMatMulScratch(const RunShapes& at) {
  const int64_t elements = at.outputs[0].shape.elements();
  return ScratchBytes({elements * 4, at.input_shape(kBScale).elements() * 4, elements * 4});
}

constexpr auto kOps = std::to_array<OpDef>({
    {"QuantizeLinear", 10, 2, 3, 1, 1, kTakesStorage, InferQuantizeLinear, RunQuantizeLinear},
    {"DequantizeLinear", 10, 2, 3, 1, 1, kTakesStorage, InferDequantizeLinear, RunDequantizeLinear},
    {"DynamicQuantizeLinear", 11, 1, 1, 3, 3, kNoTraits, InferDynamicQuantize, RunDynamicQuantize,
     "", DynamicQuantizeScratch},
    {"QLinearMatMul", 10, 8, 8, 1, 1, kNoTraits, InferQLinearMatMul, RunQLinearMatMul, "",
     QLinearMatMulScratch},
});

}  // namespace

std::span<const OpDef> QuantizeOps() {
  return kOps;
}

}  // namespace sluice::graph

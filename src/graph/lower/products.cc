// Linear layers with packed weights, and products of two activations.
#include <cstddef>

#include "graph/lower/low_linear.h"
#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/gemm.h"

namespace sluice::graph {
namespace {

using kernels::GemmArgs;
using kernels::MatMulArgs;
using tensor::DType;
using tensor::Shape;

void RunGemm(const void* args, kernels::Tiles tiles) {
  kernels::Gemm(*static_cast<const GemmArgs*>(args), tiles);
}
void RunMatMul(const void* args, kernels::Tiles tiles) {
  kernels::MatMul(*static_cast<const MatMulArgs*>(args), tiles);
}

// The value as [rows, width] with unit stride in a row.
Place Rows(Lowering& lowering, const Value* value, int64_t rows, int64_t width) {
  const Shape shape({rows, width});
  Place place = lowering.ReshapedPlace(value, shape);
  if (width == 1 || place.strides[1] == 1) return place;
  place.ref = lowering.Packed(value);
  SetPackedStrides(shape, place);
  return place;
}

// Floats between the rows of a linear layer's output: what suits linear layers where nothing else
// reads it. A few rows are one strip, whatever their distance.
int64_t OutputStride(const Lowering& lowering, const Node& node, int64_t m, int64_t n) {
  constexpr int64_t kFewRows = 16;
  const int64_t stride = kernels::GemmRowStride(n);
  if (stride == n || m <= kFewRows) return n;
  int64_t uses = 0;
  for (const Node* reader = node.next; reader != nullptr; reader = reader->next) {
    if (reader->Is("FusedLinear") && reader->input(0) == node.output()) ++uses;
  }
  return uses == lowering.reader_count(node.output()) ? stride : n;
}

base::Result<bool> LowerLinear(Lowering& lowering, const Node& node) {
  const kernels::LowWeight* low = lowering.low_weight(node);
  const kernels::PackedWeight* weight =
      low != nullptr ? nullptr : lowering.weight(node.input(1), node.Int("trans_b", 0) != 0);
  CHECK(low != nullptr || weight != nullptr) << node.name;
  const Shape& output = lowering.shape(node.output());
  const int64_t m = output.elements(0, output.rank() - 1);
  const int64_t k = low != nullptr ? low->matrix().k : weight->matrix().k;
  const int64_t n = low != nullptr ? low->matrix().n : weight->matrix().n;
  const Shape& input = lowering.shape(node.input(0));
  if (input[input.rank() - 1] != k || output[output.rank() - 1] != n) {
    return base::InvalidArgument("node '" + node.name + "': the input's rows have " +
                                 std::to_string(input[input.rank() - 1]) +
                                 " elements, the weight takes " + std::to_string(k));
  }
  const Place a = Rows(lowering, node.input(0), m, k);
  Ref bias;
  if (node.input(2) != nullptr) bias = lowering.Packed(node.input(2));
  Place residual;
  if (node.input(3) != nullptr) {
    if (!(lowering.shape(node.input(3)) == output)) {
      return base::InvalidArgument("node '" + node.name + "': cannot add " +
                                   lowering.shape(node.input(3)).ToString() + " to " +
                                   output.ToString());
    }
    residual = Rows(lowering, node.input(3), m, n);
  }
  Place factor;
  if (node.input(4) != nullptr) {
    if (!(lowering.shape(node.input(4)) == output)) {
      return base::InvalidArgument("node '" + node.name + "': cannot multiply " +
                                   output.ToString() + " by " +
                                   lowering.shape(node.input(4)).ToString());
    }
    factor = Rows(lowering, node.input(4), m, n);
  }
  const std::string_view activation = node.String("activation", "none");
  std::string detail = std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
  if (node.input(2) != nullptr) detail += " +bias";
  if (node.input(4) != nullptr) {
    if (activation != "none") detail += " " + std::string(activation);
    detail += node.input(3) != nullptr ? " cross *factor +residual" : " *factor";
  } else {
    if (node.input(3) != nullptr) detail += " +residual";
    if (activation != "none") detail += " " + std::string(activation);
  }
  if (low != nullptr) {
    AddLowLinear(lowering, node,
                 {.weight = low,
                  .m = m,
                  .a = a,
                  .bias = bias,
                  .residual = residual,
                  .factor = factor,
                  .activation = ActivationNamed(activation),
                  .detail = std::move(detail)});
    return true;
  }
  GemmArgs args;
  args.b = weight->matrix();
  args.m = m;
  args.a_stride = a.strides[0];
  args.residual_stride = residual.strides[0];
  args.factor_stride = factor.strides[0];
  args.activation = ActivationNamed(activation);
  Ref c;
  if (const Place* target = lowering.Target(node.output())) {
    // Straight into the concatenation that reads it.
    c = target->ref;
    args.c_stride = target->strides[0];
    lowering.AliasRows(node.output(), *target, n);
  } else {
    args.c_stride = OutputStride(lowering, node, m, n);
    c = lowering.DefineRows(node.output(), n, args.c_stride);
  }
  StepInfo info = lowering.Info(node, "linear");
  info.detail = std::move(detail);
  StepSpec spec{.run = RunGemm,
                .tiles = kernels::GemmTiles(args),
                .work = kernels::GemmWork(args),
                .info = std::move(info)};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(GemmArgs, a), a.ref},
                          {offsetof(GemmArgs, bias), bias},
                          {offsetof(GemmArgs, residual), residual.ref},
                          {offsetof(GemmArgs, factor), factor.ref},
                          {offsetof(GemmArgs, c), c}});
  return true;
}

// Batch axes of a product, outermost first: their extents and the strides of the three matrices.
struct Batch {
  std::vector<int64_t> extents, a, b, c;

  void Push(int64_t extent, int64_t a_stride, int64_t b_stride, int64_t c_stride) {
    if (extent == 1) return;
    // Axes that lie one behind the other in all three are one axis.
    if (!extents.empty() && a.back() == a_stride * extent && b.back() == b_stride * extent &&
        c.back() == c_stride * extent) {
      extents.back() *= extent;
      a.back() = a_stride;
      b.back() = b_stride;
      c.back() = c_stride;
      return;
    }
    extents.push_back(extent);
    a.push_back(a_stride);
    b.push_back(b_stride);
    c.push_back(c_stride);
  }
};

Batch BatchOf(Lowering& lowering, const Node& node) {
  const Shape& output = lowering.shape(node.output());
  const Shape& a = lowering.shape(node.input(0));
  const Shape& b = lowering.shape(node.input(1));
  Place c;
  SetPackedStrides(output, c);
  Batch batch;
  const auto stride = [&](const Shape& shape, const Place& place, int axis) -> int64_t {
    const int own = axis - (output.rank() - shape.rank());
    return own < 0 || shape[own] == 1 ? 0 : place.strides[own];
  };
  for (int axis = 0; axis < output.rank() - 2; ++axis) {
    batch.Push(output[axis], stride(a, lowering.place(node.input(0)), axis),
               stride(b, lowering.place(node.input(1)), axis), c.strides[axis]);
  }
  return batch;
}

void AddMatMul(Lowering& lowering, const Node& node, const MatMulArgs& args, Ref a, Ref b, Ref c) {
  StepInfo info = lowering.Info(node, "matmul");
  info.detail = std::to_string(args.outer * args.inner) + " of " + std::to_string(args.m) + "x" +
                std::to_string(args.n) + "x" + std::to_string(args.k);
  StepSpec spec{.run = RunMatMul,
                .tiles = kernels::MatMulTiles(args),
                .work = kernels::MatMulWork(args),
                .info = std::move(info)};
  lowering.builder().Add(
      std::move(spec), args,
      {{offsetof(MatMulArgs, a), a}, {offsetof(MatMulArgs, b), b}, {offsetof(MatMulArgs, c), c}});
}

base::Result<bool> LowerMatMul(Lowering& lowering, const Node& node) {
  constexpr int64_t kStepsMax = 64;
  const Shape& a = lowering.shape(node.input(0));
  const Shape& b = lowering.shape(node.input(1));
  const Shape& output = lowering.shape(node.output());
  if (node.output()->dtype != DType::kF32 || a.rank() < 2 || b.rank() < 2) return false;
  MatMulArgs args;
  args.k = a[a.rank() - 1];
  args.n = output[output.rank() - 1];
  args.c_row = args.n;
  const Place& b_place = lowering.place(node.input(1));
  args.b_row = b_place.strides[b.rank() - 2];
  args.b_column = b_place.strides[b.rank() - 1];
  if (b.rank() == 2) {
    // All rows of A against one matrix.
    args.m = output.elements(0, output.rank() - 1);
    const Place rows = Rows(lowering, node.input(0), args.m, args.k);
    args.a_row = rows.strides[0];
    AddMatMul(lowering, node, args, rows.ref, lowering.place(node.input(1)).ref,
              lowering.Define(node.output()));
    return true;
  }
  args.m = output[output.rank() - 2];
  const Place& a_place = lowering.place(node.input(0));
  args.a_row = a_place.strides[a.rank() - 2];
  args.a_column = a_place.strides[a.rank() - 1];
  const Batch batch = BatchOf(lowering, node);
  const size_t levels = batch.extents.size();
  int64_t steps = 1;
  for (size_t i = 0; i + 2 < levels; ++i) steps *= batch.extents[i];
  if (steps > kStepsMax) return false;
  const size_t outer = levels >= 2 ? levels - 2 : levels;
  if (outer < levels) {
    args.outer = batch.extents[outer];
    args.a_outer = batch.a[outer];
    args.b_outer = batch.b[outer];
    args.c_outer = batch.c[outer];
  }
  if (levels >= 1) {
    args.inner = batch.extents[levels - 1];
    args.a_inner = batch.a[levels - 1];
    args.b_inner = batch.b[levels - 1];
    args.c_inner = batch.c[levels - 1];
  }
  const Ref a_ref = lowering.place(node.input(0)).ref;
  const Ref b_ref = lowering.place(node.input(1)).ref;
  const Ref c_ref = lowering.Define(node.output());
  for (int64_t step = 0; step < steps; ++step) {
    Ref at_a = a_ref, at_b = b_ref, at_c = c_ref;
    int64_t rest = step;
    for (size_t i = levels < 2 ? 0 : levels - 2; i-- > 0;) {
      const int64_t index = rest % batch.extents[i];
      rest /= batch.extents[i];
      at_a.offset += index * batch.a[i] * 4;
      at_b.offset += index * batch.b[i] * 4;
      at_c.offset += index * batch.c[i] * 4;
    }
    AddMatMul(lowering, node, args, at_a, at_b, at_c);
  }
  return true;
}

}  // namespace

std::span<const LoweringRule> ProductRules() {
  static constexpr LoweringRule kRules[] = {
      {"FusedLinear", ~0u, LowerLinear},
      {"MatMul", ~0u, LowerMatMul},
  };
  return kRules;
}

}  // namespace sluice::graph

// Linear layers whose weight is kept in 16 or 8 bits: a step that prepares the rows of activations,
// shared by the layers that read them, and the product.
#include <cstddef>
#include <optional>

#include "graph/lower/low_linear.h"

#include "graph/lower/low_attention.h"

namespace sluice::graph {
namespace {

using kernels::LowGemmArgs;
using kernels::LowRows;
using kernels::PrepareRowsArgs;
using tensor::Shape;

void RunLowGemm(const void* args, kernels::Tiles tiles) {
  kernels::LowGemm(*static_cast<const LowGemmArgs*>(args), tiles);
}
void RunPrepareRows(const void* args, kernels::Tiles tiles) {
  kernels::PrepareRows(*static_cast<const PrepareRowsArgs*>(args), tiles);
}

PreparedParts PartsOf(Ref buffer, int64_t m, int64_t stride) {
  PreparedParts parts;
  parts.stride = stride;
  parts.data = buffer;
  parts.scales = {buffer.buffer, buffer.offset + m * stride};
  parts.zeros = {buffer.buffer, parts.scales.offset + m * 4};
  return parts;
}

PreparedParts Prepare(Lowering& lowering, const Node& node, const LowLinear& linear) {
  const kernels::LowMatrix& b = linear.weight->matrix();
  const int64_t stride = kernels::LowRowBytes(b.k, b.path);
  const float fixed = node.Float("input_scale", 0);
  Ref own;
  Ref& buffer = fixed > 0 ? own : lowering.PreparedRows(node.input(0), b.path);
  if (buffer.buffer >= 0) return PartsOf(buffer, linear.m, stride);
  buffer = {lowering.builder().NewBuffer(linear.m * (stride + 8)), 0};
  const PreparedParts parts = PartsOf(buffer, linear.m, stride);
  PrepareRowsArgs args;
  args.m = linear.m;
  args.k = b.k;
  args.a_stride = linear.a.strides[0];
  args.rows.stride = stride;
  args.path = b.path;
  args.target = b.target;
  args.fixed_scale = fixed;
  args.fixed_zero = static_cast<float>(node.Int("input_zero", 0));
  StepInfo info = lowering.Info(node, "prepare rows");
  info.detail = std::to_string(args.m) + "x" + std::to_string(args.k) + " to " +
                (b.form == kernels::WeightForm::kInt8 ? "int8" : "bf16");
  StepSpec spec{.run = RunPrepareRows,
                .tiles = kernels::PrepareRowsTiles(args),
                .work = kernels::PrepareRowsWork(args),
                .info = std::move(info)};
  lowering.builder().Add(
      std::move(spec), args,
      {{offsetof(PrepareRowsArgs, a), linear.a.ref},
       {offsetof(PrepareRowsArgs, rows) + offsetof(LowRows, data), parts.data},
       {offsetof(PrepareRowsArgs, rows) + offsetof(LowRows, scales), parts.scales},
       {offsetof(PrepareRowsArgs, rows) + offsetof(LowRows, zeros), parts.zeros}});
  return parts;
}

// The path on which a use reads rows that are prepared for whoever asks.
std::optional<kernels::LowPath> PathOf(const Lowering& lowering, const Use& use) {
  const kernels::LowWeight* weight =
      use.node->Is("FusedLinear") && use.index == 0 ? lowering.low_weight(*use.node) : nullptr;
  if (weight == nullptr || weight->matrix().path == kernels::LowPath::kWiden ||
      use.node->Has("input_scale")) {
    return std::nullopt;
  }
  return weight->matrix().path;
}

}  // namespace

PreparedParts NewPreparedRows(Lowering& lowering, const Value* value, kernels::LowPath path) {
  const Shape& shape = lowering.shape(value);
  const int64_t width = shape[shape.rank() - 1];
  const int64_t rows = shape.elements() / width;
  const int64_t stride = kernels::LowRowBytes(width, path);
  Ref& buffer = lowering.PreparedRows(value, path);
  buffer = {lowering.builder().NewBuffer(rows * (stride + 8)), 0};
  return PartsOf(buffer, rows, stride);
}

std::optional<kernels::LowPath> PreparedFor(const Lowering& lowering, const Value* value) {
  for (const Use& use : value->uses) {
    if (const auto path = PathOf(lowering, use)) return path;
  }
  return std::nullopt;
}

std::optional<kernels::LowPath> OnlyPreparedFor(const Lowering& lowering, const Value* value) {
  const std::optional<kernels::LowPath> path = PreparedFor(lowering, value);
  if (!path.has_value() || lowering.graph().IsOutput(value)) return std::nullopt;
  for (const Use& use : value->uses) {
    if (PathOf(lowering, use) != path) return std::nullopt;
  }
  return path;
}

void AddLowLinear(Lowering& lowering, const Node& node, const LowLinear& linear) {
  const kernels::LowMatrix& b = linear.weight->matrix();
  LowGemmArgs args;
  args.m = linear.m;
  args.b = b;
  args.a_stride = linear.a.strides[0];
  args.residual_stride = linear.residual.strides[0];
  args.factor_stride = linear.factor.strides[0];
  args.activation = linear.activation;
  args.c_stride = b.n;
  PreparedParts rows;
  Ref a;
  if (b.path == kernels::LowPath::kWiden) {
    a = linear.a.ref;
  } else {
    rows = Prepare(lowering, node, linear);
    args.rows.stride = rows.stride;
  }
  // A result that only such layers read, or attention in bf16, exists in its prepared form alone.
  Ref c;
  PreparedParts out;
  std::optional<kernels::LowPath> next;
  if (LeavesBrainHeads(lowering, node)) {
    next = kernels::LowPath::kBF16Tiles;
    out = NewPreparedRows(lowering, node.output(), *next);
    Place place;
    place.ref = out.data;
    place.strides[0] = out.stride / 2;
    place.strides[1] = 1;
    lowering.AliasRows(node.output(), place, b.n);
  } else {
    c = lowering.Define(node.output());
    if (b.path != kernels::LowPath::kWiden) next = OnlyPreparedFor(lowering, node.output());
    if (next.has_value() && !kernels::LowGemmPrepares(b, *next)) next.reset();
    if (next.has_value()) {
      c = {};
      out = NewPreparedRows(lowering, node.output(), *next);
    }
  }
  if (next.has_value()) {
    args.out_path = *next;
    args.out.stride = out.stride;
  }
  StepInfo info = lowering.Info(node, std::string("linear ") + WeightFormName(b.form));
  info.detail = linear.detail + ", " + LowPathName(b.path);
  if (next.has_value()) info.detail += ", result prepared";
  info.path = b.path;
  // Tiles differ where the result is prepared: any pointer but null says so.
  std::byte mark{};
  if (next.has_value()) args.out.data = &mark;
  StepSpec spec{.run = RunLowGemm,
                .tiles = kernels::LowGemmTiles(args),
                .work = kernels::LowGemmWork(args),
                .speedup = kernels::LowPathSpeedup(b.path),
                .info = std::move(info)};
  constexpr size_t kRows = offsetof(LowGemmArgs, rows);
  constexpr size_t kOut = offsetof(LowGemmArgs, out);
  lowering.builder().Add(std::move(spec), args,
                         {{kRows + offsetof(LowRows, data), rows.data},
                          {kRows + offsetof(LowRows, scales), rows.scales},
                          {kRows + offsetof(LowRows, zeros), rows.zeros},
                          {offsetof(LowGemmArgs, a), a},
                          {offsetof(LowGemmArgs, bias), linear.bias},
                          {offsetof(LowGemmArgs, residual), linear.residual.ref},
                          {offsetof(LowGemmArgs, factor), linear.factor.ref},
                          {offsetof(LowGemmArgs, c), c},
                          {kOut + offsetof(LowRows, data), out.data},
                          {kOut + offsetof(LowRows, scales), out.scales},
                          {kOut + offsetof(LowRows, zeros), out.zeros}});
}

}  // namespace sluice::graph

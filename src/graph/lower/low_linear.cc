// Linear layers whose weight is kept in 16 or 8 bits: a step that prepares the rows of activations,
// shared by the layers that read them, and the product.
#include <cstddef>

#include "graph/lower/low_linear.h"

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

// Where the parts of prepared rows lie in their buffer.
struct PreparedParts {
  Ref data, scales, zeros;
  int64_t stride = 0;
};

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
  Ref& buffer = lowering.PreparedRows(node.input(0), b.path);
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

}  // namespace

void AddLowLinear(Lowering& lowering, const Node& node, const LowLinear& linear) {
  const kernels::LowMatrix& b = linear.weight->matrix();
  LowGemmArgs args;
  args.m = linear.m;
  args.b = b;
  args.a_stride = linear.a.strides[0];
  args.residual_stride = linear.residual.strides[0];
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
  const Ref c = lowering.Define(node.output());
  StepInfo info = lowering.Info(node, std::string("linear ") + WeightFormName(b.form));
  info.detail = linear.detail + ", " + LowPathName(b.path);
  StepSpec spec{.run = RunLowGemm,
                .tiles = kernels::LowGemmTiles(args),
                .work = kernels::LowGemmWork(args),
                .speedup = kernels::LowPathSpeedup(b.path),
                .info = std::move(info)};
  constexpr size_t kRows = offsetof(LowGemmArgs, rows);
  lowering.builder().Add(std::move(spec), args,
                         {{kRows + offsetof(LowRows, data), rows.data},
                          {kRows + offsetof(LowRows, scales), rows.scales},
                          {kRows + offsetof(LowRows, zeros), rows.zeros},
                          {offsetof(LowGemmArgs, a), a},
                          {offsetof(LowGemmArgs, bias), linear.bias},
                          {offsetof(LowGemmArgs, residual), linear.residual.ref},
                          {offsetof(LowGemmArgs, c), c}});
}

}  // namespace sluice::graph

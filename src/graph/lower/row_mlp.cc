// Small networks over rows of groups.
#include <cstddef>

#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/row_mlp.h"

namespace sluice::graph {
namespace {

using kernels::RowMlpArgs;
using tensor::Shape;

void RunRowMlp(const void* args, kernels::Tiles tiles) {
  kernels::RowMlp(*static_cast<const RowMlpArgs*>(args), tiles);
}

base::Result<bool> LowerRowMlp(Lowering& lowering, const Node& node) {
  const Shape& shape = lowering.shape(node.input(0));
  const Shape& gate_shape = lowering.shape(node.input(1));
  if (gate_shape[0] != shape[0]) {
    return base::InvalidArgument("node '" + node.name + "': " + gate_shape.ToString() +
                                 " cannot be spread over " + shape.ToString());
  }
  RowMlpArgs args;
  args.groups = shape[0];
  args.rows = shape[1];
  args.columns = shape[2];
  args.crosses = node.Int("crosses", 0) != 0;
  const Place x = WholeRows(lowering, node.input(0));
  args.x_group = x.strides[0];
  args.x_row = x.strides[1];
  const Place gate = WholeRows(lowering, node.input(1));
  args.gate_group = gate.strides[0];
  const kernels::PackedWeight* gate_weight = lowering.weight(node.input(2), false);
  CHECK(gate_weight != nullptr) << node.name;
  args.gate_weight = gate_weight->matrix();
  std::vector<PointerField> pointers = {{offsetof(RowMlpArgs, x), x.ref},
                                        {offsetof(RowMlpArgs, gate), gate.ref}};
  const std::span<const std::string> activations = node.Strings("activations");
  const std::span<const int64_t> gates = node.Ints("gates");
  args.layer_count = static_cast<int32_t>(activations.size());
  std::string widths;
  for (size_t i = 0; i < activations.size(); ++i) {
    const kernels::PackedWeight* weight = lowering.weight(node.input(3 + 2 * i), false);
    CHECK(weight != nullptr) << node.name;
    args.layers[i].b = weight->matrix();
    args.layers[i].activation = ActivationNamed(activations[i]);
    widths += (i == 0 ? "" : "-") + std::to_string(args.layers[i].b.n);
    const auto point = [&](size_t field, const Value* value) {
      if (value == nullptr) return;
      pointers.push_back({offsetof(RowMlpArgs, layers) + i * sizeof(kernels::RowMlpLayer) + field,
                          lowering.Packed(value)});
    };
    point(offsetof(kernels::RowMlpLayer, bias), node.input(4 + 2 * i));
    const int64_t kind = gates.empty() ? 0 : gates[i];
    if (kind == 0) continue;
    args.layers[i].gate = static_cast<kernels::RowGate>(kind);
    widths += args.layers[i].gate == kernels::RowGate::kDice ? " dice" : " prelu";
    const size_t first = 3 + 2 * activations.size() + 3 * i;
    point(offsetof(kernels::RowMlpLayer, slope), node.input(first));
    point(offsetof(kernels::RowMlpLayer, scale), node.input(first + 1));
    point(offsetof(kernels::RowMlpLayer, shift), node.input(first + 2));
  }
  const Ref y = lowering.Define(node.output());
  pointers.push_back({offsetof(RowMlpArgs, y), y});
  StepInfo info = lowering.Info(node, "row network");
  info.detail = std::to_string(args.groups) + "x" + std::to_string(args.rows) + "x" +
                std::to_string(args.columns) + ", layers " + widths;
  StepSpec spec{.run = RunRowMlp,
                .tiles = kernels::RowMlpTiles(args),
                .work = kernels::RowMlpWork(args),
                .info = std::move(info)};
  lowering.builder().AddBlock(std::move(spec), std::as_bytes(std::span(&args, 1)), pointers);
  return true;
}

}  // namespace

std::span<const LoweringRule> RowMlpRules() {
  static constexpr LoweringRule kRules[] = {{"FusedRowMlp", ~0u, LowerRowMlp}};
  return kRules;
}

}  // namespace sluice::graph

// Sums over decision trees.
#include "kernels/trees.h"

#include <cstddef>
#include <vector>

#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/tree_masks.h"

namespace sluice::graph {
namespace {

using kernels::TreesArgs;

void RunTrees(const void* args, kernels::Tiles tiles) {
  kernels::Trees(*static_cast<const TreesArgs*>(args), tiles);
}

base::Result<bool> LowerTreeSums(Lowering& lowering, const Node& node) {
  constexpr double kQuestionNs = 1.0;
  constexpr double kMaskedTreeNs = 2.0;
  const tensor::Shape& x = lowering.shape(node.input(0));
  if (x.rank() != 2 || !node.input(2)->is_constant()) return false;
  TreesArgs args;
  args.rows = x[0];
  args.features = x[1];
  args.trees = node.input(2)->constant->shape[0];
  args.targets = node.Int("targets", 1);
  args.questions = node.Int("questions", 0);
  args.special = node.Int("special", 0) != 0;
  if (node.input(0)->dtype != tensor::DType::kF32 || node.Int("aggregate", 0) != 0 ||
      args.targets > kernels::kTreeTargetsMax || args.features < node.Int("features", 0)) {
    return false;
  }
  double floor_ns = kQuestionNs * static_cast<double>(args.rows * args.questions);
  const Value* masks = node.input(6);
  if (masks->is_constant()) {
    const tensor::Tensor& packed = *masks->constant;
    if (const auto view = kernels::ViewTreeMasks(packed.buffer.data(), packed.view().bytes())) {
      args.masks = *view;
      args.asked = node.Int("features", 0);
      floor_ns = kMaskedTreeNs * static_cast<double>(args.rows * args.trees);
    }
  }
  std::vector<PointerField> pointers = {
      {offsetof(TreesArgs, x), lowering.Packed(node.input(0))},
      {offsetof(TreesArgs, nodes), lowering.Packed(node.input(1))},
      {offsetof(TreesArgs, roots), lowering.Packed(node.input(2))}};
  if (node.Int("single", 0) == 0) {
    pointers.push_back({offsetof(TreesArgs, leaf_begin), lowering.Packed(node.input(3))});
    pointers.push_back({offsetof(TreesArgs, leaf_targets), lowering.Packed(node.input(4))});
    pointers.push_back({offsetof(TreesArgs, leaf_weights), lowering.Packed(node.input(5))});
  }
  pointers.push_back({offsetof(TreesArgs, y), lowering.Define(node.output())});
  StepInfo info = lowering.Info(node, "trees");
  info.detail = std::to_string(args.trees) + " trees x " + std::to_string(args.rows) + " rows";
  StepSpec spec{.run = RunTrees,
                .tiles = kernels::TreesTiles(args),
                .work = kernels::TreesWork(args),
                .floor_ns = floor_ns,
                .info = std::move(info)};
  lowering.builder().AddBlock(std::move(spec), std::as_bytes(std::span(&args, 1)), pointers);
  return true;
}

}  // namespace

std::span<const LoweringRule> TreeRules() {
  static constexpr LoweringRule kRules[] = {{"TreeSums", ~0u, LowerTreeSums}};
  return kRules;
}

}  // namespace sluice::graph

#include "graph/lower/lowering_rules.h"

#include <map>

#include "graph/op.h"

namespace sluice::graph {

const LoweringRule* FindLoweringRule(const Node& node) {
  static const auto* const rules = [] {
    auto* built = new std::map<std::string_view, const LoweringRule*>();
    for (const std::span<const LoweringRule> table :
         {ViewRules(), ProductRules(), AttentionRules(), RotaryRules(), ChainRules(),
          IntegerRules(), RowRules(), MoveRules(), LookupRules(), InteractionRules(), RowMlpRules(),
          ImageRules(), RecurrentRules(), TreeRules(), SegmentRules()}) {
      for (const LoweringRule& rule : table) built->emplace(rule.op, &rule);
    }
    return built;
  }();
  if (!node.op->domain.empty() && node.op->domain != kOurDomain) return nullptr;
  const auto found = rules->find(node.op->name);
  return found == rules->end() ? nullptr : found->second;
}

kernels::Activation ActivationNamed(std::string_view name) {
  for (int i = 0; i < kernels::kActivationCount; ++i) {
    const auto activation = static_cast<kernels::Activation>(i);
    if (name == kernels::ActivationName(activation)) return activation;
  }
  return kernels::Activation::kNone;
}

Place WholeRows(Lowering& lowering, const Value* value) {
  Place place = lowering.place(value);
  const tensor::Shape& shape = lowering.shape(value);
  if (shape[2] == 1 || place.strides[2] == 1) return place;
  place.ref = lowering.Packed(value);
  SetPackedStrides(shape, place);
  return place;
}

}  // namespace sluice::graph

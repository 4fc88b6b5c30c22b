// The tables of lowering rules, one a family of kernels.
#pragma once

#include <span>

#include "graph/lower/lowering.h"
#include "kernels/activation.h"

namespace sluice::graph {

std::span<const LoweringRule> ViewRules();  // what is only another way to look at the same memory
std::span<const LoweringRule> ProductRules();  // linear layers, matrix products
std::span<const LoweringRule> AttentionRules();
std::span<const LoweringRule> RotaryRules();
std::span<const LoweringRule> ChainRules();        // elementwise
std::span<const LoweringRule> IntegerRules();      // integer arithmetic
std::span<const LoweringRule> RowRules();          // norms, softmax, reductions
std::span<const LoweringRule> MoveRules();         // gathers, concatenations
std::span<const LoweringRule> LookupRules();       // embedding tables
std::span<const LoweringRule> TreeRules();         // sums over decision trees
std::span<const LoweringRule> RowMlpRules();       // small networks over rows
std::span<const LoweringRule> InteractionRules();  // how features meet
std::span<const LoweringRule> ImageRules();        // convolutions, pools
std::span<const LoweringRule> SegmentRules();      // pooling and running sums over packed rows
std::span<const LoweringRule> RecurrentRules();

// The kernel's activation by the name that passes give it.
kernels::Activation ActivationNamed(std::string_view name);

// The value [B, S, D] where it lies if its rows have unit stride, else packed.
Place WholeRows(Lowering& lowering, const Value* value);

// A gather by one known index is a slice without its axis.
base::Result<bool> LowerGatherAsView(Lowering& lowering, const Node& node);

}  // namespace sluice::graph

// The lowering of attention in bf16: which attentions take it, from which linear layers, to whom.
// attention.cc reads the node.
#pragma once

#include "graph/lower/lowering.h"
#include "kernels/attention.h"

namespace sluice::graph {

// Whether attentions in bf16 alone, all of whose operands come from linear layers in 16 or 8 bits,
// read what `linear` computes, through views: then it leaves bf16 rows. The decision is the same
// for all layers and attentions that share an operand.
bool LeavesBrainHeads(const Lowering& lowering, const Node& linear);
// Whether the operands of `attention` are such rows.
bool TakesBrainHeads(const Lowering& lowering, const Node& attention);

// An attention node, read. The operands' places count bytes as if elements were f32.
struct LowHeads {
  kernels::AttentionArgs args;
  Ref q, k, v, mask, starts, out;
  kernels::Work work;
  StepInfo info;
};
// Its output has been defined.
void AddLowAttention(Lowering& lowering, const Node& node, const LowHeads& heads);

}  // namespace sluice::graph

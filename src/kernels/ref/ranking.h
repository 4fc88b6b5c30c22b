// Plain loops with the arguments of kernels/embedding_bag.h, interaction.h and row_mlp.h: what
// conformance compares those with. Each runs the whole op.
#pragma once

#include <vector>

#include "kernels/embedding_bag.h"
#include "kernels/interaction.h"
#include "kernels/row_mlp.h"

namespace sluice::kernels::ref {

LookupFault Lookups(const LookupsArgs& args);
void PairDots(const PairDotsArgs& args);
void SecondOrder(const SecondOrderArgs& args);
void VectorCross(const VectorCrossArgs& args);
// Weights are unpacked [k, n], layer by layer as in args; `gate_weight` too.
void RowMlp(const RowMlpArgs& args, const std::vector<const float*>& weights,
            const float* gate_weight);

}  // namespace sluice::kernels::ref

// Plain loops with the arguments of kernels/embedding_bag.h and kernels/interaction.h: what
// conformance compares those with. Each runs the whole op.
#pragma once

#include "kernels/embedding_bag.h"
#include "kernels/interaction.h"

namespace sluice::kernels::ref {

LookupFault Lookups(const LookupsArgs& args);
void PairDots(const PairDotsArgs& args);
void SecondOrder(const SecondOrderArgs& args);

}  // namespace sluice::kernels::ref

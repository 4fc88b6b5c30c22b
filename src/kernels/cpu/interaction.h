// The per-target entry points of feature interactions.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/interaction.h"

namespace sluice::kernels {

// Batch rows [begin, end).
SLUICE_DECLARE_ISA(void RunPairDots(const PairDotsArgs& args, int64_t begin, int64_t end))
SLUICE_DECLARE_ISA(void RunSecondOrder(const SecondOrderArgs& args, int64_t begin, int64_t end))

SLUICE_DECLARE_ISA(void RunVectorCross(const VectorCrossArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

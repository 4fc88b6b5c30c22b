// The per-target entry point of look-ups in many tables.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/embedding_bag.h"

namespace sluice::kernels {

// Rows [begin, end) of every look-up.
SLUICE_DECLARE_ISA(LookupFault RunLookups(const LookupsArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

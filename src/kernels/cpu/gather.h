// The per-target entry points of table look-ups.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/gather_rows.h"

namespace sluice::kernels {

// Positions [begin, end); the first position out of range, or kAllInRange.
SLUICE_DECLARE_ISA(int64_t RunGatherRows(const GatherRowsArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

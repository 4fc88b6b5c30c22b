// The per-target entry point of gates.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/gated_rows.h"

namespace sluice::kernels {

// Columns [begin, end) of y's row `row`.
SLUICE_DECLARE_ISA(void RunGatedRow(const GatedRowsArgs& args, int64_t row, int64_t begin,
                                    int64_t end))

}  // namespace sluice::kernels

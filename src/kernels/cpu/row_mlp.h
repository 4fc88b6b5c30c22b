// The per-target entry point of small networks over rows.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/row_mlp.h"

namespace sluice::kernels {

// Groups [begin, end).
SLUICE_DECLARE_ISA(void RunRowMlp(const RowMlpArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

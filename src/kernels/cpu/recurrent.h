// The per-target entry point of the recurrent layers.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/recurrent.h"

namespace sluice::kernels {

// Sequences [begin, end), at most a strip of them.
SLUICE_DECLARE_ISA(void RunRecurrent(const RecurrentArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

// The per-target entry point of rotary embeddings.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/rotary.h"

namespace sluice::kernels {

// Rows [begin, end), counted with the last outer axis fastest.
SLUICE_DECLARE_ISA(void RunRotary(const RotaryArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

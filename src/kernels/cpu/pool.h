// The per-target entry point of the pools.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/pool.h"

namespace sluice::kernels {

// Output rows [begin, end) of all images, counted through.
SLUICE_DECLARE_ISA(void RunPool(const PoolArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

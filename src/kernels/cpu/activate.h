// An activation over a run of floats that is hot in the cache, per target.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/cpu/isa.h"

namespace sluice::kernels {

// x[i] = act(x[i]) for i < count.
SLUICE_DECLARE_ISA(void ActivateRow(float* x, int64_t count, Activation activation))

}  // namespace sluice::kernels

// The meaning of kernels/attention.h: plain loops, everything in double, rounded once at the end.
#pragma once

#include "kernels/attention.h"

namespace sluice::kernels::ref {

// kernels::Attention, all tiles.
void HeadsAttention(const kernels::AttentionArgs& args);

}  // namespace sluice::kernels::ref

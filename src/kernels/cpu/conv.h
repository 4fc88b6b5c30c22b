// The per-target entry points of the convolutions and what the plan hands them.
#pragma once

#include "kernels/conv.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"

namespace sluice::kernels {

// Pixels are the region's rows.
SLUICE_DECLARE_ISA(void RunConv(const ConvArgs& args, const GemmPlan& plan,
                                const GemmRegion& region))
// Output rows [begin, end) of all images, counted through.
SLUICE_DECLARE_ISA(void RunDepthwise(const DepthwiseArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

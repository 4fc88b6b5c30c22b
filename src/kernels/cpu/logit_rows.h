// The per-target entry points of passes over logits.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/logit_rows.h"

namespace sluice::kernels {

SLUICE_DECLARE_ISA(LogitMaximum RunFindMaximum(const float* x, int64_t n))
SLUICE_DECLARE_ISA(void RunSumExps(const float* x, int64_t n, float shift, float scale,
                                   float* sums))
SLUICE_DECLARE_ISA(void RunExps(const float* x, int64_t n, float shift, float scale, float* y))
SLUICE_DECLARE_ISA(void RunCap(float* x, int64_t n, float cap))
SLUICE_DECLARE_ISA(int64_t RunCollect(const float* x, int64_t n, float threshold, int32_t* indices,
                                      int64_t capacity))

}  // namespace sluice::kernels

// The per-target entry points of the products and what the plan hands them.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/gemm.h"
#include "kernels/plan/gemm_plan.h"

namespace sluice::kernels {

// Rows [row_begin, row_end) and columns [column_begin, column_end) of C; column_begin is a multiple
// of the panel.
struct GemmRegion {
  int64_t row_begin, row_end;
  int64_t column_begin, column_end;
};

SLUICE_DECLARE_ISA(void RunGemm(const GemmArgs& args, const GemmPlan& plan,
                                const GemmRegion& region))
SLUICE_DECLARE_ISA(void RunMatMul(const MatMulArgs& args, const GemmPlan& plan, int64_t matrix,
                                  const GemmRegion& region))

}  // namespace sluice::kernels

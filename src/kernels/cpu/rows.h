// The per-target entry points of norms, softmax and reductions.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/row_norm.h"
#include "kernels/row_reduce.h"
#include "kernels/row_softmax.h"

namespace sluice::kernels {

// Rows [begin, end).
SLUICE_DECLARE_ISA(void RunRowNorm(const RowNormArgs& args, int64_t begin, int64_t end))
SLUICE_DECLARE_ISA(void RunRowL2Norm(const RowL2NormArgs& args, int64_t begin, int64_t end))
SLUICE_DECLARE_ISA(void RunRowSoftmax(const RowSoftmaxArgs& args, int64_t begin, int64_t end))
// inner == 1: rows [begin, end) of x.
SLUICE_DECLARE_ISA(void RunReduceLast(const RowReduceArgs& args, int64_t begin, int64_t end))
// Columns [begin, end) of index `outer`.
SLUICE_DECLARE_ISA(void RunReduceMiddle(const RowReduceArgs& args, int64_t outer, int64_t begin,
                                        int64_t end))
SLUICE_DECLARE_ISA(void RunMaskedMean(const MaskedMeanArgs& args, int64_t batch, int64_t begin,
                                      int64_t end))

}  // namespace sluice::kernels

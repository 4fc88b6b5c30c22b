// Plain loops with the arguments of the vector kernels in kernels/*.h: what conformance compares
// those with. Each runs the whole op.
#pragma once

#include "kernels/chain.h"
#include "kernels/gated_rows.h"
#include "kernels/gather_rows.h"
#include "kernels/row_norm.h"
#include "kernels/row_reduce.h"
#include "kernels/row_softmax.h"
#include "kernels/transpose.h"

namespace sluice::kernels::ref {

// Each step in double from f32 operands, rounded to f32.
void RunChain(const ChainArgs& args);
void RowNorm(const RowNormArgs& args);
void RowL2Norm(const RowL2NormArgs& args);
void RowSoftmax(const RowSoftmaxArgs& args);
void RowReduce(const RowReduceArgs& args);
void MaskedMean(const MaskedMeanArgs& args);
void GatedRows(const GatedRowsArgs& args);
int64_t GatherRows(const GatherRowsArgs& args);
void Transpose(const kernels::TransposeArgs& args);

}  // namespace sluice::kernels::ref

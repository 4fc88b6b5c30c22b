// The meaning of the matrix products: plain loops, sums in double, rounded once at the end.
#pragma once

#include "kernels/gemm.h"
#include "kernels/packing.h"

namespace sluice::kernels::ref {

// kernels::Gemm over an unpacked B. `args.b` is ignored; `b` gives k and n.
void PackedGemm(const kernels::GemmArgs& args, const MatrixSource& b);
// kernels::MatMul, all tiles.
void StridedMatMul(const kernels::MatMulArgs& args);

// act(x) in double.
double Activate(double x, Activation activation);

}  // namespace sluice::kernels::ref

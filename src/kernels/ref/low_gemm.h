// Reference products of low precision: plain loops from the definitions in kernels/low_gemm.h.
#pragma once

#include <vector>

#include "kernels/gemm.h"
#include "kernels/low_gemm.h"

namespace sluice::kernels::ref {

// A row of activations as a product of `form` sees it: quantised to 256 codes and back, rounded to
// bf16, or as it is.
std::vector<float> SeenRow(const float* x, int64_t k, WeightForm form, LowPath path);

// args.a and a_stride hold the activations for every path; args.rows is not read. Sums in double.
void LowGemm(const LowGemmArgs& args);

}  // namespace sluice::kernels::ref

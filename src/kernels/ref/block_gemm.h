// Reference products with weights in blocks, from the definitions in kernels/block_gemm.h.
#pragma once

#include <vector>

#include "kernels/block_gemm.h"

namespace sluice::kernels::ref {

// A row of activations as such a product sees it: blocks of 32 rounded to 8 bits and back.
std::vector<float> SeenInBlocks(const float* x, int64_t k);

// args.a and a_stride hold the activations for every format; args.rows is not read. Sums in double.
void BlockGemm(const BlockGemmArgs& args);

}  // namespace sluice::kernels::ref

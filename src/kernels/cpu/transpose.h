// The per-target entry points of transposes and conversions.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/transpose.h"

namespace sluice::kernels {

// y[j * y_stride + i] = x[i * x_stride + j] for i < columns, j < rows: elements of 4 bytes, strides
// in elements.
SLUICE_DECLARE_ISA(void TransposeWords(const uint32_t* x, int64_t x_stride, int64_t columns,
                                       int64_t rows, uint32_t* y, int64_t y_stride))
SLUICE_DECLARE_ISA(void RunConvert(const ConvertArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

// Lays out weights of 8 and 16 bits for the products of kernels/low_gemm.h, at load.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "kernels/low_gemm.h"
#include "kernels/packing.h"

namespace sluice::kernels {

// Whether `form` takes a weight of this size: an int8 product of more than kLowDepthMax elements
// could overflow its sums.
inline constexpr int64_t kLowDepthMax = 65536;
bool LowFormTakes(WeightForm form, int64_t k, int64_t n);

// Whether every column is a multiple of some scale by integers in [-128, 127], as a quantiser
// leaves it: then int8 keeps it without loss.
bool HoldsInt8Exactly(const MatrixSource& source);

// Bytes that PackLow writes at most for any path.
int64_t LowMatrixBytes(int64_t k, int64_t n, WeightForm form);
// Packs the columns of `parts` into `out`, aligned to 64 bytes, by all cores. int8 scales are
// max |w| / 127 of a column, or what makes a column that HoldsInt8Exactly lossless. Source elements
// that are not finite are kInvalidArgument for kInt8 and kInt8Storage.
base::Result<LowMatrix> PackLow(MatrixParts parts, WeightForm form, std::byte* out);
inline base::Result<LowMatrix> PackLow(const MatrixSource& source, WeightForm form,
                                       std::byte* out) {
  return PackLow(MatrixParts(&source, 1), form, out);
}
// Bytes of a packed matrix: what `data`, `scales` and `sums` take together.
int64_t PackedLowBytes(const LowMatrix& matrix);
// The same matrix with its bytes at `data`.
LowMatrix MovedLow(const LowMatrix& matrix, const std::byte* data);
// Element (k, n) as the product sees it, scale included: for references and measures of accuracy.
float LowElement(const LowMatrix& matrix, int64_t k, int64_t n);

}  // namespace sluice::kernels

// Weights of four bits in groups along k, made at load from wider ones, for the products of
// kernels/block_gemm.h.
//
// Panels of sixteen outputs. A group is its scales (and minimums) as bf16, sixteen each, then 256
// bytes for every 32 elements of k: byte (16 i + j) 4 + l holds, for output j, element 4 i + l in
// its low half and element 16 + 4 i + l in its high half. Symmetric: w = scale (code - 8), the
// element of the largest magnitude at code 0 or next to it. With a minimum: w = scale code +
// minimum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "kernels/block_gemm.h"
#include "kernels/packing.h"

namespace sluice::kernels {

enum class Int4Kind : uint8_t { kSymmetric, kWithMinimum };

inline constexpr int64_t kInt4BlockBytes = 256;
inline constexpr int64_t kInt4GroupMax = 1024;

// Whether a weight of k x n can be kept so: k a multiple of 32, the group one from 32 to 1024.
bool Int4Takes(int64_t k, int64_t n, int64_t group);

// Of a panel's group before its codes, and of a whole panel.
inline int64_t Int4HeadBytes(const BlockMatrix& w) {
  return w.format == tensor::BlockFormat::kQ4_1 ? 64 : 32;
}
inline int64_t Int4PanelBytes(const BlockMatrix& w) {
  return (w.k + w.group - 1) / w.group * Int4HeadBytes(w) + w.k / 32 * kInt4BlockBytes;
}
// Of the whole weight, whose last panel is padded.
int64_t Int4Bytes(int64_t k, int64_t n, int64_t group, Int4Kind kind);

// Quantises the columns of `parts` into `out`, aligned to 64 bytes, by all cores. kInvalidArgument
// when an element is not finite.
base::Result<BlockMatrix> PackInt4(MatrixParts parts, int64_t group, Int4Kind kind, std::byte* out);
inline base::Result<BlockMatrix> PackInt4(const MatrixSource& source, int64_t group, Int4Kind kind,
                                          std::byte* out) {
  return PackInt4(MatrixParts(&source, 1), group, kind, out);
}

}  // namespace sluice::kernels

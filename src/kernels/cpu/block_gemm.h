// The per-target entry points of products with weights in blocks.
#pragma once

#include "kernels/block_gemm.h"
#include "kernels/cpu/isa.h"

namespace sluice::kernels {

// A rectangle of C; columns begin at a multiple of kBlockColumns.
struct BlockRegion {
  int64_t row_begin, row_end;
  int64_t column_begin, column_end;
};

// Columns of a panel, the same for every target, and of a tile's smallest part.
inline constexpr int64_t kBlockPanel = 16;
inline constexpr int64_t kBlockColumns = 32;
// Rows whose sums wait on the stack while a tile's weights pass.
inline constexpr int64_t kBlockRowsMax = 256;

// Rows [begin, end).
SLUICE_DECLARE_ISA(void RunPrepareBlockRows(const PrepareBlockRowsArgs& args, int64_t begin,
                                            int64_t end))
// kF16 and kBF16.
SLUICE_DECLARE_ISA(void RunBlockHalves(const BlockGemmArgs& args, const BlockRegion& region))

namespace avx2 {
void RunBlocks(const BlockGemmArgs& args, const BlockRegion& region);
}
namespace vnni {
void RunBlocks(const BlockGemmArgs& args, const BlockRegion& region);
}

}  // namespace sluice::kernels

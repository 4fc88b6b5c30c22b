// The per-target entry points of trees of masks.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/trees.h"

namespace sluice::kernels {

// Rows of a call at most.
inline constexpr int64_t kMaskRows = 32;

// `count` rows through trees of masks.
struct MaskedRows {
  TreeMasks masks;
  const float* turned;  // [features, kMaskRows]: TurnRows; at a multiple of 64 bytes
  int64_t count;
};

// turned[f, r] = x[r, f] for the first `features` of rows that lie `stride` apart; rows beyond
// `count` hold something.
SLUICE_DECLARE_ISA(void TurnRows(const float* x, int64_t stride, int64_t count, int64_t features,
                                 float* turned))

// Trees [begin, end). What the leaves hold is added to sums [kMaskRows] or, where that is null, the
// leaves are written down by their number among all trees': leaves [end - begin, kMaskRows]. Both
// lie at multiples of 64 bytes; rows beyond `count` hold anything.
SLUICE_DECLARE_ISA(void RunTreeMasks(const MaskedRows& rows, int64_t begin, int64_t end,
                                     double* sums, int32_t* leaves))

namespace avx512 {
// One row through groups of 16 trees side by side: the leaf that it reaches in each tree, by its
// number within the tree. `begin` is a multiple of 16; trees that complete a group are written,
// too.
void RunTreesAside(const TreeMasks& masks, const float* x, int64_t features, int64_t begin,
                   int64_t end, int32_t* leaves);
}  // namespace avx512

}  // namespace sluice::kernels

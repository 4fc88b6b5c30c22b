// The per-target entry points of attention over cached blocks.
#pragma once

#include "kernels/cached_attention.h"
#include "kernels/cpu/isa.h"

namespace sluice::kernels {

// Rows [row_begin, row_end) of one sequence, counted from its first of the step, and all query
// heads of one key head.
struct CachedTile {
  const CachedRows* sequence;
  int64_t key_head;
  int64_t row_begin, row_end;
};

// Rows of a tile times the query heads of a key head: enough that a block of keys is read for many
// queries, few enough that a tile stays below a quantum.
inline constexpr int64_t kCachedQueriesMax = 128;

SLUICE_DECLARE_ISA(void RunCachedAttention(const CachedAttentionArgs& args, const CachedTile& tile))
SLUICE_DECLARE_ISA(void RunCacheWrite(const CacheWriteArgs& args, int64_t begin, int64_t end))

}  // namespace sluice::kernels

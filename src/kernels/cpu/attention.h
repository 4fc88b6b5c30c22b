// The per-target entry point of attention and what the plan hands it.
#pragma once

#include "kernels/attention.h"
#include "kernels/cpu/isa.h"

namespace sluice::kernels {

// Queries [query_begin, query_end) of head `head` of sequence `sequence`, counted from the
// sequence's first row.
struct AttentionTile {
  int64_t sequence;
  int64_t head;
  int64_t query_begin, query_end;  // at most kQueriesMax apart
  int64_t keys;                    // that exist for this sequence
  int64_t first_row;          // of the sequence, added to every row of q, k, v, out; 0 when padded
  int64_t key_block;          // keys taken at a time: AttentionKeyBlock(dim, value_dim)
  int64_t fetched_bytes_max;  // of the next sequence, for which L2 has room
};

inline constexpr int64_t kQueriesMax = 256;

SLUICE_DECLARE_ISA(void RunAttention(const AttentionArgs& args, const AttentionTile& tile))

}  // namespace sluice::kernels

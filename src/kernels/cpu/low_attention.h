// The entry point of attention in tile registers and what the plan hands it.
#pragma once

#include "kernels/low_attention.h"

namespace sluice::kernels {

// Queries [query_begin, query_end) of one head of one sequence.
struct LowAttentionTile {
  int64_t sequence = 0;
  int64_t head = 0;
  int64_t query_begin = 0, query_end = 0;  // at most kLowQueriesMax apart
  int64_t keys = 0;                        // that exist for this sequence
  int64_t first_row = 0;                   // of the sequence in q, k, v, out when ragged, else 0
  int64_t rows_first = 0;                  // of the sequence in args.rows
};

inline constexpr int64_t kLowQueriesMax = 256;
inline constexpr int64_t kLowHeadMax = 128;
// Keys at a time: no effect on a row's bits but for where its sums are cut.
inline constexpr int64_t kLowKeyBlock = 256;

namespace amx {
void RunLowAttention(const LowAttentionArgs& args, const LowAttentionTile& tile);
}  // namespace amx

}  // namespace sluice::kernels

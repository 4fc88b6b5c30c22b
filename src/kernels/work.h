// What every kernel tells of itself: how many independent tiles it splits into and what a run of it
// costs.
//
// Each op header has an args struct and, beside its function:
//   int64_t GemmTiles(const GemmArgs&)              independent pieces; any order and any split
//   give the same bits void    Gemm(const GemmArgs&, Tiles)            runs a range of them;
//   thread-safe across disjoint ranges; no heap Work    GemmWork(const GemmArgs&) flops and bytes
//   of the whole
// so that an executor can step through a large op in ranges of at most a quantum and split a range
// over a pool.
#pragma once

#include <cstdint>

namespace sluice::kernels {

// Tiles [begin, end) of an op.
struct Tiles {
  int64_t begin = 0;
  int64_t end = 0;
};

// Useful arithmetic and compulsory memory traffic of one run.
struct Work {
  int64_t flops = 0;
  int64_t bytes = 0;
};

}  // namespace sluice::kernels

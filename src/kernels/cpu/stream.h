// Asking for memory ahead of a loop that reads it once, in order. Only for files that are compiled
// once per target.
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// L1 waits for sixteen lines at a time, too few for the latency of memory; L2 for three times as
// many. So L2 is asked first, and L1 when the line has come there. From a page of 4 KiB ahead on
// it is slower again (docs/weights.md).
constexpr std::ptrdiff_t kStreamFar = 3072;
constexpr std::ptrdiff_t kStreamNear = 1024;

// To be called for every line, before it is read: kLines of them from `line` on.
template <int kLines>
__attribute__((always_inline)) inline void FetchStream(const std::byte* line) {
#pragma GCC unroll 8
  for (int i = 0; i < kLines; ++i)
    _mm_prefetch(reinterpret_cast<const char*>(line + kStreamFar + 64 * i), _MM_HINT_T1);
#pragma GCC unroll 8
  for (int i = 0; i < kLines; ++i)
    _mm_prefetch(reinterpret_cast<const char*>(line + kStreamNear + 64 * i), _MM_HINT_T0);
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

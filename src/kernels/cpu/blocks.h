// Block sizes that are fixed at compile time because stack buffers and displacements depend on
// them.
#pragma once

#include <cstdint>

namespace sluice::kernels {

// The longest run of k for which a strip of A is held: 14 rows of it are 42 KiB.
inline constexpr int64_t kStripDepth = 768;
// Floats between a strip's rows: an odd number of cache lines, so that the rows fall into different
// sets.
inline constexpr int64_t kStripStride = kStripDepth + 16;
inline constexpr int64_t kStripRowsMax = 14;
// Floats of B that a product of two activations packs on the stack at a time: 128 KiB.
inline constexpr int64_t kStackBlock = 32 << 10;
// Rows of B in it at most.
inline constexpr int64_t kStackDepth = 256;
// How many rows of B ahead of the one in use are asked for.
inline constexpr int64_t kPrefetchRows = 16;

// Attention packs a block of keys and one of values, each so many floats (64 KiB), of at most
// kHeadChunk of the head's dimensions at a time.
inline constexpr int64_t kHeadBlock = 16 << 10;
inline constexpr int64_t kHeadChunk = 256;

}  // namespace sluice::kernels

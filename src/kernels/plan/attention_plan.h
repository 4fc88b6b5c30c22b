// Chooses blocks and tiles of attention from its sizes: pure functions.
#pragma once

#include <cstdint>

namespace sluice::kernels {

// Keys that are taken at a time: a function of the head's dimensions alone, because a row's bits
// depend on it. A multiple of 32 between 32 and kStripDepth such that a block of keys and one of
// values fit their buffers.
int64_t AttentionKeyBlock(int64_t dim, int64_t value_dim);

// Queries of a tile: as many as keep it below a quantum, at most kQueriesMax; more share one
// packing of the keys.
int64_t AttentionQueryTile(int64_t queries, int64_t keys, int64_t dim, int64_t value_dim);

}  // namespace sluice::kernels

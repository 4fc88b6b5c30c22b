// Chooses blocks and tiles of a product from its sizes and the caches: pure functions, no effect on
// any bit of a result.
#pragma once

#include <cstdint>

#include "kernels/target.h"

namespace sluice::kernels {

// Columns that a panel of packed B has, and rows of A that a tile of registers takes.
int64_t PanelColumns(Target target);
int64_t StripRows(Target target);

struct CacheSizes {
  int64_t l1_bytes = 32 << 10;
  int64_t l2_bytes = 512 << 10;
};

// Of this machine, asked once; the defaults where the system does not say.
const CacheSizes& MachineCaches();

// A tile is tile_rows x tile_columns of C over all of k. The rows of A of a tile fit in half of L2,
// block_depth of k at a time, and so does a block of B of kStripDepth x block_columns at most.
struct GemmPlan {
  int64_t tile_rows = 0;
  int64_t tile_columns = 0;  // a multiple of the panel
  int64_t row_tiles = 0;
  int64_t column_tiles = 0;
  int64_t block_depth = 0;         // k is cut into equal blocks
  int64_t block_columns = 0;       // a multiple of the panel
  bool fetches_next_rows = false;  // two tiles' rows of A fit in half of L2
  // A tile's columns of B stay in L2 while all rows of A pass over them, a strip at a time; tiles
  // are numbered down the columns. Else rows of A stay, and tiles are numbered along the rows.
  bool keeps_b = false;
};

// m may be 0; n and k are at least 1.
GemmPlan PlanGemm(int64_t m, int64_t n, int64_t k, Target target, const CacheSizes& caches);
// The same, keeping B where m is large.
GemmPlan PlanLargeGemm(int64_t m, int64_t n, int64_t k, Target target, const CacheSizes& caches);

// For a product whose B is packed on the stack, block by block: block_depth * block_columns <=
// kStackBlock. k may be 0.
GemmPlan PlanMatMul(int64_t m, int64_t n, int64_t k, Target target);

}  // namespace sluice::kernels

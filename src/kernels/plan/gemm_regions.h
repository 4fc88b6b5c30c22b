// Turns a range of a product's tiles into rectangles of C. Who numbers tiles down the columns keeps
// a block of B in L2, who numbers them along the rows a block of A.
#pragma once

#include <algorithm>

#include "kernels/cpu/gemm.h"
#include "kernels/plan/gemm_plan.h"
#include "kernels/work.h"

namespace sluice::kernels {

// `count` tiles from `first` on, along one side of C.
struct TileSpan {
  int64_t first = 0;
  int64_t count = 0;
};

// The part of C [m, n] under a rectangle of tiles.
inline GemmRegion RegionOf(const GemmPlan& plan, int64_t m, int64_t n, TileSpan rows,
                           TileSpan columns) {
  GemmRegion region;
  region.row_begin = rows.first * plan.tile_rows;
  region.row_end = std::min(m, (rows.first + rows.count) * plan.tile_rows);
  region.column_begin = columns.first * plan.tile_columns;
  region.column_end = std::min(n, (columns.first + columns.count) * plan.tile_columns);
  return region;
}

// Tiles count down a column of tiles first. A range is one rectangle for each column that it
// touches, and whole columns beside each other are one, so that a long range packs each strip of A
// and reads each block of B once.
template <class Run>
void ForRegions(const GemmPlan& plan, int64_t m, int64_t n, Tiles tiles, Run run) {
  for (int64_t tile = tiles.begin; tile < tiles.end;) {
    const int64_t column = tile / plan.row_tiles;
    const int64_t row = tile % plan.row_tiles;
    const int64_t left = tiles.end - tile;
    const int64_t columns = row == 0 ? std::max<int64_t>(1, left / plan.row_tiles) : 1;
    const int64_t rows = std::min(left, plan.row_tiles - row);
    run(RegionOf(plan, m, n, {row, rows}, {column, columns}));
    tile += columns * rows;
  }
}

// Tiles count along a row of tiles first. A range is one rectangle for each row of tiles that it
// touches, and whole rows below each other are one.
template <class Run>
void ForRegionsByRow(const GemmPlan& plan, int64_t m, int64_t n, Tiles tiles, Run run) {
  for (int64_t tile = tiles.begin; tile < tiles.end;) {
    const int64_t row = tile / plan.column_tiles;
    const int64_t column = tile % plan.column_tiles;
    const int64_t left = tiles.end - tile;
    const int64_t rows = column == 0 ? std::max<int64_t>(1, left / plan.column_tiles) : 1;
    const int64_t columns = std::min(left, plan.column_tiles - column);
    run(RegionOf(plan, m, n, {row, rows}, {column, columns}));
    tile += columns * rows;
  }
}

}  // namespace sluice::kernels

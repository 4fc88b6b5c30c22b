#include "kernels/gather_rows.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/gather.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

constexpr int64_t kTileBytes = 64 << 10;
constexpr auto kFloat = static_cast<int64_t>(sizeof(float));

int64_t PerTile(int64_t item_bytes) {
  return std::max<int64_t>(1, kTileBytes / std::max<int64_t>(1, item_bytes));
}

int64_t TileCount(int64_t items, int64_t per_tile) {
  return (items + per_tile - 1) / per_tile;
}

void CheckTable(const TableView& table) {
  CHECK(table.dtype == DType::kF32 || table.dtype == DType::kF16 || table.dtype == DType::kBF16);
  CHECK(table.rows >= 0 && table.columns >= 0);
}

}  // namespace

int64_t GatherRowsTiles(const GatherRowsArgs& args) {
  return TileCount(args.count, PerTile(args.table.columns * kFloat));
}

int64_t GatherRows(const GatherRowsArgs& args, Tiles tiles) {
  CheckTable(args.table);
  const int64_t step = PerTile(args.table.columns * kFloat);
  const int64_t end = std::min(args.count, tiles.end * step);
  if (tiles.begin * step >= end) return kAllInRange;
  return SLUICE_PICK_ISA(ActiveTarget(), RunGatherRows)(args, tiles.begin * step, end);
}

Work GatherRowsWork(const GatherRowsArgs& args) {
  const int64_t index_bytes = args.indices.wide ? 8 : 4;
  const int64_t row = args.table.columns * (tensor::DTypeSize(args.table.dtype) + kFloat);
  return {0, args.count * (row + index_bytes)};
}

int64_t GatherBytesTiles(const GatherBytesArgs& args) {
  return TileCount(args.count, PerTile(args.row_bytes));
}

int64_t GatherBytes(const GatherBytesArgs& args, Tiles tiles) {
  const int64_t step = PerTile(args.row_bytes);
  const int64_t end = std::min(args.count, tiles.end * step);
  int64_t bad = kAllInRange;
  for (int64_t i = tiles.begin * step; i < end; ++i) {
    int64_t row = args.indices.wide ? static_cast<const int64_t*>(args.indices.data)[i]
                                    : static_cast<const int32_t*>(args.indices.data)[i];
    if (row < -args.rows || row >= args.rows) {
      if (bad == kAllInRange) bad = i;
      continue;
    }
    if (row < 0) row += args.rows;
    char* to = static_cast<char*>(args.y) + i * args.row_bytes;
    const char* from = static_cast<const char*>(args.table) + row * args.row_bytes;
    // Sizes known to the compiler become single moves.
    if (args.row_bytes == 8) {
      std::memcpy(to, from, 8);
    } else if (args.row_bytes == 4) {
      std::memcpy(to, from, 4);
    } else if (args.row_bytes > 0) {
      std::memcpy(to, from, static_cast<size_t>(args.row_bytes));
    }
  }
  return bad;
}

Work GatherBytesWork(const GatherBytesArgs& args) {
  return {0, args.count * (2 * args.row_bytes + (args.indices.wide ? 8 : 4))};
}

}  // namespace sluice::kernels

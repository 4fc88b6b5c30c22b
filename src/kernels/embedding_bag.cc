#include "kernels/embedding_bag.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/embedding_bag.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

// Bytes of table rows in a tile: some tens of microseconds when they come from memory.
constexpr int64_t kTileBytes = 256 << 10;

int64_t BagLength(const LookupsArgs& args, const Lookup& lookup) {
  if (lookup.offsets.base < 0) return lookup.bag_size;
  return args.rows > 0 ? (lookup.id_count + args.rows - 1) / args.rows : 0;
}

int64_t RowsPerTile(const LookupsArgs& args) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < args.count; ++i) {
    const Lookup& lookup = args.lookups[i];
    bytes += BagLength(args, lookup) * lookup.table.columns * tensor::DTypeSize(lookup.table.dtype);
  }
  return std::max<int64_t>(1, kTileBytes / std::max<int64_t>(1, bytes));
}

void CheckLookup(const Lookup& lookup) {
  const DType dtype = lookup.table.dtype;
  CHECK(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16);
  CHECK(lookup.ids.base >= 0 && lookup.y.base >= 0);
}

}  // namespace

int64_t LookupsTiles(const LookupsArgs& args) {
  for (int64_t i = 0; i < args.count; ++i) CheckLookup(args.lookups[i]);
  const int64_t step = RowsPerTile(args);
  return (args.rows + step - 1) / step;
}

LookupFault Lookups(const LookupsArgs& args, Tiles tiles) {
  const int64_t step = RowsPerTile(args);
  const int64_t end = std::min(args.rows, tiles.end * step);
  if (tiles.begin * step >= end) return {};
  return SLUICE_PICK_ISA(ActiveTarget(), RunLookups)(args, tiles.begin * step, end);
}

Work LookupsWork(const LookupsArgs& args) {
  Work work;
  for (int64_t i = 0; i < args.count; ++i) {
    const Lookup& lookup = args.lookups[i];
    const int64_t ids = args.rows * BagLength(args, lookup);
    const int64_t columns = lookup.table.columns;
    if (BagLength(args, lookup) != 1 || lookup.accumulates) work.flops += 2 * ids * columns;
    work.bytes +=
        ids * (columns * tensor::DTypeSize(lookup.table.dtype) + (lookup.wide_ids ? 8 : 4)) +
        args.rows * columns * static_cast<int64_t>(sizeof(float));
  }
  return work;
}

}  // namespace sluice::kernels

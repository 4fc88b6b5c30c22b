// Look-ups in many embedding tables in one pass: rows, or sums or means of bags of rows, each with
// its own table, ids and place. Ids come from requests: each is checked before it is used, negative
// ones count from the end, and nothing is read out of bounds. One table's plain rows are
// gather_rows.h.
//
// A bag's sum adds its rows in the order of its ids, whatever surrounds it.
#pragma once

#include <cstdint>

#include "kernels/gather_rows.h"
#include "kernels/work.h"

namespace sluice::kernels {

inline constexpr int kLookupBases = 64;

// Where an operand lies: `offset` bytes behind base `base` of LookupsArgs; base -1: absent.
struct LookupPlace {
  int32_t base = -1;
  int64_t offset = 0;
};

// y[b, :] = sum (or mean) over the bag's positions of weight * table[id, :].
struct Lookup {
  TableView table;      // f32, f16 or bf16
  LookupPlace ids;      // id i of bag b: element b * ids_bag + i * ids_step
  LookupPlace offsets;  // optional, [rows] or [rows + 1] int64: bag b holds ids [offsets[b], …)
  LookupPlace weights;  // optional f32, laid out by weights_bag and weights_step
  LookupPlace y;        // f32 [rows, y_stride], the first `columns` of each row
  int64_t ids_bag = 1;
  int64_t ids_step = 1;
  int64_t weights_bag = 1;
  int64_t weights_step = 1;
  int64_t bag_size = 1;      // without offsets
  int64_t id_count = 0;      // with offsets: the last bag ends there unless an offset says so
  bool closed = false;       // with offsets: there are rows + 1
  bool wide_ids = true;      // int64, else int32
  bool mean = false;         // over the bag's ids; without any, NaN, or 0 where offsets say so
  bool accumulates = false;  // onto what an earlier look-up of the list has put at y
  int64_t y_stride = 0;
};

// The first id or offset that was out of range. Bags with bad ids hold anything.
struct LookupFault {
  int64_t lookup = -1;   // none
  bool offset = false;   // an offset, else an id
  int64_t position = 0;  // within its ids or offsets
  int64_t value = 0;
  int64_t extent = 0;
};

struct LookupsArgs {
  const Lookup* lookups = nullptr;
  int64_t count = 0;
  int64_t rows = 0;  // bags of each look-up
  void* bases[kLookupBases] = {};
};

// Tiles are ranges of rows, all look-ups each.
int64_t LookupsTiles(const LookupsArgs& args);
[[nodiscard]] LookupFault Lookups(const LookupsArgs& args, Tiles tiles);
// Bags with offsets count with their average length.
Work LookupsWork(const LookupsArgs& args);

}  // namespace sluice::kernels

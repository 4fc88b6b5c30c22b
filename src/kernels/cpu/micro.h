// The inner loop of every product: a tile of C in registers, one chain of fused multiply-adds per
// element.
//
// Compiled once per target. Two pointers and the multiples of one stride reach every row of A with
// one load each, so that A is read where it lies. The accumulators are named by constant indices
// alone: an index that stays a variable makes GCC 12 keep the array in memory, and a third of the
// speed is left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

constexpr int kLanes = static_cast<int>(sizeof(VF) / sizeof(float));
constexpr int kPanel = 2 * kLanes;
// 14 x 32 with AVX-512 (28 accumulators, 2 of B, 1 of A of 32 registers), 6 x 16 with AVX2 (12, 2,
// 1 of 16).
constexpr int kStripRows = kLanes == 16 ? 14 : 6;

// Parts at most into which a run of k is cut, and addresses that are fetched from.
constexpr int kAheads = 7;

struct MicroArgs {
  const float* a;  // [rows, depth], rows a_row apart
  int64_t a_row = kStripStride;
  const float* b;  // [depth, width], rows b_row apart; the next panel at b + b_panel
  int64_t b_row;
  int64_t b_panel;
  float* c;  // [rows, columns], rows c_row apart
  int64_t c_row;
  int64_t depth;
  const float* bias;  // [columns], added at the end, or null
  bool accumulate;    // start from what C holds
  int columns;        // of C in the last vector: 1 … kLanes
  // Fetched meanwhile, a few rows with each part of k: what misses beyond L2 comes no faster for
  // being asked for at once, and keeps the misses of A and B waiting.
  const float* next_c;         // the tile that is written next, rows c_row apart
  const float* next_residual;  // what that tile adds, rows residual_row apart, or null
  const float* residual;       // of this tile, rows residual_row apart; with adds_residual
  int64_t residual_row;
  bool adds_residual;  // after the bias; else the caller does
  // What is needed after a while, fetched into L2 meanwhile: the run of k is cut into parts of
  // `part`, the last one longer, and each has an address and a step in bytes for each k. Addresses
  // may lie behind their arrays' ends.
  int64_t part;
  struct Ahead {
    const char* at;
    int64_t step;
  } ahead[kAheads];
};

// The least part that gives kAheads parts at most.
inline int64_t PartOf(int64_t depth) {
  return (depth + kAheads - 1) / kAheads;
}

template <int kCount, class F>
__attribute__((always_inline)) inline void Unroll(F f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, kIndex>{}), ...);
  }
  (std::make_integer_sequence<int, kCount>{});
}

// C [kRows, kVectors * kLanes * kPanels]. With kMasked the last vector has `columns` columns.
template <int kRows, int kVectors, int kPanels, bool kMasked>
void Micro(const MicroArgs& args) {
  static_assert(!kMasked || kPanels == 1);
  constexpr int kWide = kVectors * kPanels;
  const F32 d;
  const auto mask = hn::FirstN(d, static_cast<size_t>(kMasked ? args.columns : kLanes));
  const auto load = [&](const float* from, auto j) __attribute__((always_inline)) {
    if constexpr (kMasked && j == kWide - 1) return hn::MaskedLoad(mask, d, from + j * kLanes);
    return hn::LoadU(d, from + j * kLanes);
  };
  VF acc[kRows][kWide];
  if (args.accumulate) {
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
        acc[i][j] = load(args.c + i * args.c_row, j);
      });
    });
  } else {
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      Unroll<kWide>([&](auto j) __attribute__((always_inline)) { acc[i][j] = hn::Zero(d); });
    });
  }
  constexpr int kLow = 7;  // rows reached from the first pointer
  const float* a = args.a;
  const float* a_high = a + kLow * args.a_row;
  const int64_t a_row = args.a_row;
  const int64_t a_row3 = 3 * a_row;
  const int64_t a_row5 = 5 * a_row;
  const float* b = args.b;
  const int64_t b_row = args.b_row;
  const int64_t b_panel = args.b_panel;
  const float* const a_end = a + args.depth;
  const MicroArgs::Ahead* next = args.ahead;
  constexpr int kPartRows = (kRows + kAheads - 1) / kAheads;
  constexpr int kTurns = (kRows + kPartRows - 1) / kPartRows;
  const float* next_c = args.next_c;
  const float* residual = args.next_residual;
  int turns = kMasked ? 0 : kTurns;
  do {
    if (turns != 0) {
      --turns;
      Unroll<kPartRows>([&](auto i) __attribute__((always_inline)) {
        Unroll<kWide * kLanes / 16>([&](auto j) __attribute__((always_inline)) {
          __builtin_prefetch(next_c + i * args.c_row + j * 16, 1);
        });
      });
      next_c += kPartRows * args.c_row;
      if (residual != nullptr) {
        Unroll<kPartRows>([&](auto i) __attribute__((always_inline)) {
          Unroll<kWide * kLanes / 16>([&](auto j) __attribute__((always_inline)) {
            __builtin_prefetch(residual + i * args.residual_row + j * 16);
          });
        });
        residual += kPartRows * args.residual_row;
      }
    }
    const float* const end = a_end - a < 2 * args.part ? a_end : a + args.part;
    const char* ahead = next->at;
    const int64_t ahead_step = next->step;
    ++next;
#pragma GCC unroll 2
    for (; a != end; ++a, ++a_high, b += b_row) {
      VF column[kWide];
      Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
        column[j] = hn::LoadU(d, b + (j / kVectors) * b_panel + (j % kVectors) * kLanes);
      });
      if constexpr (kPanels == 1) {
        Unroll<kVectors * kLanes / 16>([&](auto j) __attribute__((always_inline)) {
          __builtin_prefetch(b + kPrefetchRows * b_row + j * 16);
        });
        __builtin_prefetch(ahead, 0, 2);
        ahead += ahead_step;
      }
      Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
        constexpr int kRow = i % kLow;
        const float* const from = i < kLow ? a : a_high;
        const VF x = hn::Set(d, from[kRow == 3   ? a_row3
                                     : kRow == 5 ? a_row5
                                     : kRow == 6 ? 2 * a_row3
                                                 : kRow * a_row]);
        Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
          acc[i][j] = hn::MulAdd(x, column[j], acc[i][j]);
        });
      });
    }
  } while (a != a_end);
  if (args.bias != nullptr) {
    Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
      const VF bias = load(args.bias, j);
      Unroll<kRows>([&](auto i)
                        __attribute__((always_inline)) { acc[i][j] = hn::Add(acc[i][j], bias); });
    });
  }
  if (args.adds_residual) {
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
        acc[i][j] = hn::Add(acc[i][j], load(args.residual + i * args.residual_row, j));
      });
    });
  }
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
    float* const c = args.c + i * args.c_row;
    Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
      if constexpr (kMasked && j == kWide - 1) {
        hn::BlendedStore(acc[i][j], mask, d, c + j * kLanes);
      } else {
        hn::StoreU(acc[i][j], d, c + j * kLanes);
      }
    });
  });
}

using MicroFunction = void (*)(const MicroArgs&);

// How many full panels one call takes: with few rows a single panel has too few chains to hide the
// latency of an FMA.
constexpr int PanelsAtOnce(int rows) {
  if (kLanes == 16) return rows <= 3 ? 4 : rows <= 6 ? 2 : 1;
  return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
}

struct MicroTable {
  MicroFunction many[kStripRows];  // PanelsAtOnce(rows) full panels
  MicroFunction pair[kStripRows];  // two full panels, where PanelsAtOnce(rows) is more than one
  MicroFunction full[kStripRows];  // one full panel
  MicroFunction two[kStripRows];   // more than one vector of columns, masked
  MicroFunction one[kStripRows];   // up to one vector of columns, masked
};

template <int... kRow>
constexpr MicroTable MakeMicroTable(std::integer_sequence<int, kRow...>) {
  return {{Micro<kRow + 1, 2, PanelsAtOnce(kRow + 1), false>...},
          {Micro < kRow + 1, 2, PanelsAtOnce(kRow + 1) == 1 ? 1 : 2, false > ...},
          {Micro<kRow + 1, 2, 1, false>...},
          {Micro<kRow + 1, 2, 1, true>...},
          {Micro<kRow + 1, 1, 1, true>...}};
}
constexpr MicroTable kMicro = MakeMicroTable(std::make_integer_sequence<int, kStripRows>{});

// The function for a tile of `rows` rows at the start of `columns` columns, and the tile's width.
// args.columns becomes what the function wants there.
struct MicroChoice {
  MicroFunction run;
  int64_t width;
};
inline MicroChoice ChooseMicro(int rows, int64_t columns, int64_t panels, MicroArgs& args) {
  const int row = rows - 1;
  if (columns >= panels * kPanel) {
    return {panels == 1 ? kMicro.full[row] : kMicro.many[row], panels * kPanel};
  }
  if (panels > 2 && columns >= 2 * kPanel) return {kMicro.pair[row], 2 * kPanel};
  if (columns >= kPanel) return {kMicro.full[row], kPanel};
  args.columns = static_cast<int>(columns > kLanes ? columns - kLanes : columns);
  return {columns > kLanes ? kMicro.two[row] : kMicro.one[row], columns};
}

// C [rows, columns] for rows <= kStripRows and any columns, from panels of B `b_panel` apart.
// `columns` counts from the start of a panel; only the last panel may be partial, and is padded in
// memory. Each tile is handed to `finish(first_column, column_count)` while it is hot.
template <class Finish>
__attribute__((always_inline)) inline void RunPanels(MicroArgs args, int rows, int64_t columns,
                                                     Finish finish) {
  for (int64_t j = 0; j < columns;) {
    const MicroChoice tile = ChooseMicro(rows, columns - j, PanelsAtOnce(rows), args);
    args.next_c = args.c + tile.width;
    args.part = PartOf(args.depth);
    for (MicroArgs::Ahead& ahead : args.ahead) ahead = {reinterpret_cast<const char*>(args.b), 0};
    tile.run(args);
    finish(j, tile.width);
    j += tile.width;
    args.b += args.b_panel * (tile.width / kPanel);
    args.c += tile.width;
    if (args.bias != nullptr) args.bias += tile.width;
  }
}

// Calls f(row, rows) for strips of [begin, end) that differ by one row at most.
template <class F>
inline void ForStrips(int64_t begin, int64_t end, F f) {
  const int64_t count = (end - begin + kStripRows - 1) / kStripRows;
  const int64_t base = count == 0 ? 0 : (end - begin) / count;
  const int64_t longer = count == 0 ? 0 : (end - begin) % count;
  int64_t row = begin;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t rows = base + (s < longer ? 1 : 0);
    f(row, rows);
    row += rows;
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

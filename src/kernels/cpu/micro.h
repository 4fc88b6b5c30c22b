// The inner loop of every product: a tile of C in registers, one chain of fused multiply-adds per
// element.
//
// Compiled once per target. Rows of A lie kStripStride floats apart, a constant, so that each
// broadcast is one load with a constant displacement and no row needs a pointer register; callers
// copy a strip of A there (PackStrip). The accumulators are named by constant indices alone: an
// index that stays a variable makes GCC 12 keep the array in memory, and a third of the speed is
// left.
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

struct MicroArgs {
  const float* a;  // [rows, depth], rows kStripStride apart
  const float* b;  // [depth, width], rows b_row apart; the next panel at b + b_panel
  int64_t b_row;
  int64_t b_panel;
  float* c;  // [rows, columns], rows c_row apart
  int64_t c_row;
  int64_t depth;
  const float* bias;  // [columns], added at the end, or null
  bool accumulate;    // start from what C holds
  int columns;        // of C in the last vector: 1 … kLanes
};

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
  // What the next call will write, and perhaps read, is fetched meanwhile.
  if constexpr (!kMasked) {
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      Unroll<kWide * kLanes / 16>([&](auto j) __attribute__((always_inline)) {
        __builtin_prefetch(args.c + i * args.c_row + kWide * kLanes + j * 16, 1);
      });
    });
  }
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
  const float* a = args.a;
  const float* b = args.b;
  const int64_t b_row = args.b_row;
  const int64_t b_panel = args.b_panel;
#pragma GCC unroll 2
  for (const float* const end = a + args.depth; a != end; ++a, b += b_row) {
    VF column[kWide];
    Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
      column[j] = hn::LoadU(d, b + (j / kVectors) * b_panel + (j % kVectors) * kLanes);
    });
    if constexpr (kPanels == 1) {
      Unroll<kVectors * kLanes / 16>([&](auto j) __attribute__((always_inline)) {
        __builtin_prefetch(b + kPrefetchRows * b_row + j * 16);
      });
    }
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      const VF x = hn::Set(d, a[i * kStripStride]);
      Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
        acc[i][j] = hn::MulAdd(x, column[j], acc[i][j]);
      });
    });
  }
  if (args.bias != nullptr) {
    Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
      const VF bias = load(args.bias, j);
      Unroll<kRows>([&](auto i)
                        __attribute__((always_inline)) { acc[i][j] = hn::Add(acc[i][j], bias); });
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
  MicroFunction full[kStripRows];  // one full panel
  MicroFunction two[kStripRows];   // more than one vector of columns, masked
  MicroFunction one[kStripRows];   // up to one vector of columns, masked
};

template <int... kRow>
constexpr MicroTable MakeMicroTable(std::integer_sequence<int, kRow...>) {
  return {{Micro<kRow + 1, 2, PanelsAtOnce(kRow + 1), false>...},
          {Micro<kRow + 1, 2, 1, false>...},
          {Micro<kRow + 1, 2, 1, true>...},
          {Micro<kRow + 1, 1, 1, true>...}};
}
constexpr MicroTable kMicro = MakeMicroTable(std::make_integer_sequence<int, kStripRows>{});

// C [rows, columns] for rows <= kStripRows and any columns, from panels of B `b_panel` apart.
// `columns` counts from the start of a panel; only the last panel may be partial, and is padded in
// memory. Panels are handed to `finish(first_column, column_count)` while they are hot.
template <class Finish>
__attribute__((always_inline)) inline void RunPanels(MicroArgs args, int rows, int64_t columns,
                                                     Finish finish) {
  const int64_t at_once = PanelsAtOnce(rows) * kPanel;
  int64_t finished = 0;
  const int row = rows - 1;
  for (int64_t j = 0; j < columns;) {
    int64_t width = columns - j;
    MicroFunction run = nullptr;
    if (width >= at_once) {
      width = at_once;
      run = kMicro.many[row];
    } else if (width >= kPanel) {
      width = kPanel;
      run = kMicro.full[row];
    } else if (width > kLanes) {
      run = kMicro.two[row];
      args.columns = static_cast<int>(width) - kLanes;
    } else {
      run = kMicro.one[row];
      args.columns = static_cast<int>(width);
    }
    run(args);
    j += width;
    if (j - finished >= kFinishColumns || j == columns) {
      finish(finished, j - finished);
      finished = j;
    }
    args.b += args.b_panel * (width / kPanel);
    args.c += width;
    if (args.bias != nullptr) args.bias += width;
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

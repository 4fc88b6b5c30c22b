// The loops of the dot products: rows of activations against panels of weights, four bytes of each
// along k at a time. A Dot says how a vector of such groups is multiplied and added up. Only for
// files that are compiled once per target, and without Highway: its inline functions must not be
// compiled for features beyond its targets.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstddef>
#include <utility>

#include "kernels/cpu/low_gemm.h"
#include "kernels/cpu/stream.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

template <int kCount, class F>
__attribute__((always_inline)) inline void Repeat(F f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, kIndex>{}), ...);
  }
  (std::make_integer_sequence<int, kCount>{});
}

// A Dot also says up to how many rows a panel is read in the order of memory (kStreamRows).
struct LowMicroArgs {
  const std::byte* a;  // [rows, groups * 4]
  int64_t a_row;       // bytes
  const std::byte* b;  // a panel [groups, width * 4]; the next one b_panel bytes behind
  int64_t b_panel;
  int64_t groups;
  int32_t* sums;   // [rows, panels * width]
  int64_t panels;  // of LowMicroStream
};

template <class Dot, int kRows, int kPanels>
void LowMicro(const LowMicroArgs& args) {
  using Vec = typename Dot::Vec;
  constexpr int kWide = 2 * kPanels;
  constexpr int kBytes = static_cast<int>(sizeof(Vec));
  Vec acc[kRows][kWide];
  Repeat<kRows>([&](auto i) __attribute__((always_inline)) {
    Repeat<kWide>([&](auto j) __attribute__((always_inline)) { acc[i][j] = Dot::Zero(); });
  });
  const std::byte* a = args.a;
  const std::byte* b = args.b;
  const int64_t a_row = args.a_row;
  const int64_t b_panel = args.b_panel;
#pragma GCC unroll 2
  for (const std::byte* const end = a + args.groups * 4; a != end; a += 4, b += 2 * kBytes) {
    Vec column[kWide];
    Repeat<kWide>([&](auto j) __attribute__((always_inline)) {
      column[j] = Dot::Load(b + (j / 2) * b_panel + (j % 2) * kBytes);
    });
    Repeat<kRows>([&](auto i) __attribute__((always_inline)) {
      const Vec x = Dot::Broadcast(a + i * a_row);
      Repeat<kWide>([&](auto j) __attribute__((always_inline)) {
        acc[i][j] = Dot::Add(acc[i][j], x, column[j]);
      });
    });
  }
  Repeat<kRows>([&](auto i) __attribute__((always_inline)) {
    Repeat<kWide>([&](auto j) __attribute__((always_inline)) {
      Dot::Store(args.sums + (i * kWide + j) * (kBytes / 4), acc[i][j]);
    });
  });
}

// Panels with few rows, which reading B binds: in the order of memory, two groups at a time, whose
// sums are chains of their own. Exact sums alone may be added up in that order.
template <class Dot, int kRows>
void LowMicroStream(const LowMicroArgs& args) {
  using Vec = typename Dot::Vec;
  constexpr int kBytes = static_cast<int>(sizeof(Vec));
  constexpr int kChains = 4;  // two groups' halves of a panel
  const int64_t a_row = args.a_row;
  const std::byte* b = args.b;
  int32_t* sums = args.sums;
  for (int64_t panel = 0; panel < args.panels; ++panel, sums += kBytes / 2) {
    Vec acc[kRows][kChains];
    Repeat<kRows>([&](auto i) __attribute__((always_inline)) {
      Repeat<kChains>([&](auto j) __attribute__((always_inline)) { acc[i][j] = Dot::Zero(); });
    });
    const std::byte* a = args.a;
    for (const std::byte* const end = a + args.groups * 4; a != end;
         a += 8, b += kChains * kBytes) {
      FetchStream<kChains * kBytes / 64>(b);
      Vec column[kChains];
      Repeat<kChains>([&](auto j) __attribute__((always_inline)) {
        column[j] = Dot::Load(b + j * kBytes);
      });
      Repeat<kRows>([&](auto i) __attribute__((always_inline)) {
        const Vec x = Dot::Broadcast(a + i * a_row), y = Dot::Broadcast(a + i * a_row + 4);
        Repeat<kChains>([&](auto j) __attribute__((always_inline)) {
          acc[i][j] = Dot::Add(acc[i][j], j < 2 ? x : y, column[j]);
        });
      });
    }
    Repeat<kRows>([&](auto i) __attribute__((always_inline)) {
      Repeat<2>([&](auto j) __attribute__((always_inline)) {
        Dot::Store(sums + i * args.panels * (kBytes / 2) + j * (kBytes / 4),
                   Dot::Sum(acc[i][j], acc[i][j + 2]));
      });
    });
  }
}

using LowMicroFunction = void (*)(const LowMicroArgs&);

// With few rows one panel has too few chains to hide the latency of a dot product.
template <class Dot>
constexpr int LowPanelsAtOnce(int rows) {
  if (Dot::kRows >= 14) return rows <= 3 ? 4 : rows <= 6 ? 2 : 1;
  return rows == 1 ? 4 : rows <= 2 ? 2 : 1;
}

template <class Dot>
struct LowMicroTable {
  LowMicroFunction many[Dot::kRows];
  LowMicroFunction one[Dot::kRows];
};
template <class Dot, int... kRow>
constexpr LowMicroTable<Dot> MakeLowMicroTable(std::integer_sequence<int, kRow...>) {
  return {{LowMicro<Dot, kRow + 1, LowPanelsAtOnce<Dot>(kRow + 1)>...},
          {LowMicro<Dot, kRow + 1, 1>...}};
}

inline int64_t LowMin(int64_t a, int64_t b) {
  return a < b ? a : b;
}

template <class Dot, int... kRow>
constexpr std::array<LowMicroFunction, sizeof...(kRow)> MakeStreamTable(
    std::integer_sequence<int, kRow...>) {
  return {LowMicroStream<Dot, kRow + 1>...};
}

// A matrix from here on is not expected in L2, where asking ahead costs more than it brings: with
// 1 MB there 82 GB/s in place of 134.
constexpr int64_t kStreamBytes = int64_t{4} << 20;
// Panels that LowMicroStream takes at once: what finishes them reads lines that nobody has touched
// yet and would otherwise stop the stream at every panel.
constexpr int64_t kStreamPanels = 6;

// Lines of C and of what is added to it, for rows [row, row + rows).
inline void FetchFinish(const LowGemmArgs& args, int64_t row, int64_t rows, int64_t column,
                        int64_t columns) {
  const auto fetch = [&](const float* from) {
    if (from == nullptr) return;
    for (int64_t i = 0; i < columns; i += 16)
      _mm_prefetch(reinterpret_cast<const char*>(from + column + i), _MM_HINT_T0);
  };
  fetch(args.b.scales);
  fetch(args.b.sums);
  fetch(args.bias);
  for (int64_t r = row; r < row + rows; ++r) {
    if (args.out.data == nullptr) fetch(args.c + r * args.c_stride);
    if (args.residual != nullptr) fetch(args.residual + r * args.residual_stride);
  }
}

// C's rows and columns of the region; `finish` is FinishLow of the target's vectors.
template <class Dot, class Finish>
__attribute__((always_inline)) inline void RunLow(const LowGemmArgs& args, const GemmPlan& plan,
                                                  const GemmRegion& region, Finish finish) {
  static constexpr LowMicroTable<Dot> kTable =
      MakeLowMicroTable<Dot>(std::make_integer_sequence<int, static_cast<int>(Dot::kRows)>{});
  constexpr int64_t kWidth = 2 * static_cast<int64_t>(sizeof(typename Dot::Vec)) / 4;
  alignas(64) int32_t sums[Dot::kRows * kWidth + 8 * kWidth];
  static_assert(Dot::kStreamRows * kStreamPanels <= Dot::kRows + 8);
  LowMicroArgs micro;
  micro.a_row = args.rows.stride;
  micro.groups = args.b.groups;
  micro.b_panel = micro.groups * kWidth * 4;
  micro.sums = sums;
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += plan.block_columns) {
    const int64_t n1 = LowMin(region.column_end, n0 + plan.block_columns);
    // Strips that differ by one row at most.
    const int64_t all = region.row_end - region.row_begin;
    const int64_t strips = (all + Dot::kRows - 1) / Dot::kRows;
    int64_t row = region.row_begin;
    for (int64_t s = 0; s < strips; ++s) {
      const int64_t rows = all / strips + (s < all % strips ? 1 : 0);
      micro.a = args.rows.data + row * args.rows.stride;
      const int64_t at_once = LowPanelsAtOnce<Dot>(static_cast<int>(rows)) * kWidth;
      if constexpr (Dot::kStreamRows > 0) {
        static constexpr auto kStreams =
            MakeStreamTable<Dot>(std::make_integer_sequence<int, Dot::kStreamRows>{});
        if (rows <= Dot::kStreamRows && args.b.n / kWidth * micro.b_panel >= kStreamBytes) {
          for (int64_t n = n0; n < n1;) {
            micro.panels = LowMin(kStreamPanels, (n1 - n + kWidth - 1) / kWidth);
            const int64_t width = micro.panels * kWidth, columns = LowMin(width, n1 - n);
            FetchFinish(args, row, rows, n, columns);
            micro.b = args.b.data + n / kWidth * micro.b_panel;
            kStreams[static_cast<size_t>(rows - 1)](micro);
            finish(args, LowSums{sums, width, row, rows, n, columns});
            n += width;
          }
          row += rows;
          continue;
        }
      }
      for (int64_t n = n0; n < n1;) {
        const bool many = n1 - n >= at_once;
        micro.b = args.b.data + n / kWidth * micro.b_panel;
        (many ? kTable.many : kTable.one)[rows - 1](micro);
        const int64_t width = many ? at_once : kWidth;
        finish(args, LowSums{sums, width, row, rows, n, LowMin(width, n1 - n)});
        n += width;
      }
      row += rows;
    }
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA

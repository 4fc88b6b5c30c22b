// Products of weights that are small in memory alone: strips of rows read them as they are and
// widen them in registers, so that one row costs the narrow bytes. An element is one chain of
// multiply-adds over k, as in gemm.cc. Compiled once per target.
#include "kernels/cpu/low_gemm.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

inline int64_t Least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// How a vector of elements becomes f32.
struct BrainElement {
  using Type = uint16_t;
  static HWY_INLINE VF Load(const Type* from) { return WidenBrain(from); }
};
struct ByteElement {
  using Type = int8_t;
  static HWY_INLINE VF Load(const Type* from) {
    const F32 d;
    const hn::Rebind<int8_t, F32> d8;
    return hn::ConvertTo(d, hn::PromoteTo(I32(), hn::LoadU(d8, from)));
  }
};

struct WidenArgs {
  const float* a;  // [rows, depth], rows a_row apart
  int64_t a_row;
  const std::byte* b;  // panels [depth, kPanel]
  int64_t depth;
  float* sums;  // [rows, panels * kPanel]
};

template <class Element, int kRows, int kPanels>
void WidenMicro(const WidenArgs& args) {
  constexpr int kWide = 2 * kPanels;
  constexpr int kLow = 7;  // rows reached from the first pointer, as in micro.h
  VF acc[kRows][kWide];
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
    Unroll<kWide>([&](auto j) __attribute__((always_inline)) { acc[i][j] = hn::Zero(F32()); });
  });
  const float* a = args.a;
  const int64_t a_row = args.a_row, a_row3 = 3 * a_row, a_row5 = 5 * a_row;
  const float* a_high = a + kLow * a_row;
  const auto* b = reinterpret_cast<const typename Element::Type*>(args.b);
  const int64_t b_panel = args.depth * kPanel;
  for (const float* const end = a + args.depth; a != end; ++a, ++a_high, b += kPanel) {
    VF column[kWide];
    Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
      column[j] = Element::Load(b + (j / 2) * b_panel + (j % 2) * kLanes);
    });
    Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
      constexpr int kRow = i % kLow;
      const float* const from = i < kLow ? a : a_high;
      const VF x = hn::Set(F32(), from[kRow == 3   ? a_row3
                                       : kRow == 5 ? a_row5
                                       : kRow == 6 ? 2 * a_row3
                                                   : kRow * a_row]);
      Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
        acc[i][j] = hn::MulAdd(x, column[j], acc[i][j]);
      });
    });
  }
  Unroll<kRows>([&](auto i) __attribute__((always_inline)) {
    Unroll<kWide>([&](auto j) __attribute__((always_inline)) {
      hn::Store(acc[i][j], F32(), args.sums + (i * kWide + j) * kLanes);
    });
  });
}

struct WidenTable {
  void (*many[kStripRows])(const WidenArgs&);  // PanelsAtOnce(rows)
  void (*one[kStripRows])(const WidenArgs&);
};
template <class Element, int... kRow>
constexpr WidenTable MakeWidenTable(std::integer_sequence<int, kRow...>) {
  return {{WidenMicro<Element, kRow + 1, PanelsAtOnce(kRow + 1)>...},
          {WidenMicro<Element, kRow + 1, 1>...}};
}

// Bytes of weights that stay in L2 while strips of rows pass over them.
constexpr int64_t kNarrowBlock = int64_t{512} << 10;

// Strips of rows against weights as they are.
template <class Element>
void RunNarrow(const LowGemmArgs& args, const GemmRegion& region) {
  static constexpr WidenTable kTable =
      MakeWidenTable<Element>(std::make_integer_sequence<int, kStripRows>{});
  alignas(64) float sums[2 * kStripRows * kPanel];
  const int64_t column_bytes = args.b.k * static_cast<int64_t>(sizeof(typename Element::Type));
  int64_t block = kNarrowBlock / column_bytes / (4 * kPanel) * (4 * kPanel);
  if (block == 0) block = 4 * kPanel;
  WidenArgs micro = {};
  micro.a_row = args.a_stride;
  micro.depth = args.b.k;
  micro.sums = sums;
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += block) {
    const int64_t n1 = Least(region.column_end, n0 + block);
    ForStrips(region.row_begin, region.row_end, [&](int64_t row, int64_t rows) {
      micro.a = args.a + row * args.a_stride;
      const int64_t at_once = PanelsAtOnce(static_cast<int>(rows)) * kPanel;
      for (int64_t n = n0; n < n1;) {
        const bool many = n1 - n >= at_once;
        const int64_t width = many ? at_once : kPanel;
        micro.b = args.b.data + n * column_bytes;
        (many ? kTable.many : kTable.one)[rows - 1](micro);
        FinishLow(args, LowSums{sums, width, row, rows, n, Least(width, n1 - n)});
        n += width;
      }
    });
  }
}

}  // namespace

void RunLowWiden(const LowGemmArgs& args, const GemmRegion& region) {
  if (args.b.form == WeightForm::kInt8Storage) return RunNarrow<ByteElement>(args, region);
  RunNarrow<BrainElement>(args, region);
}

}  // namespace sluice::kernels::SLUICE_ISA

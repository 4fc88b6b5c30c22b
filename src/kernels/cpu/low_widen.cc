// Products of weights that are small in memory alone: blocks of them are widened to f32 on the
// stack, in L1 and L2, and strips of A pass over them as in gemm.cc. Compiled once per target.
#include "kernels/cpu/low_gemm.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

// `count` elements, a multiple of two vectors.
void Widen(const LowMatrix& b, int64_t at, int64_t count, float* to) {
  const F32 d;
  if (b.form == WeightForm::kBF16Storage || b.form == WeightForm::kBF16) {
    const auto* const from = reinterpret_cast<const uint16_t*>(b.data) + at;
    for (int64_t i = 0; i < count; i += kLanes) hn::Store(WidenBrain(from + i), d, to + i);
    return;
  }
  const hn::Rebind<int8_t, F32> d8;
  const I32 di;
  const auto* const from = reinterpret_cast<const int8_t*>(b.data) + at;
  for (int64_t i = 0; i < count; i += kLanes)
    hn::Store(hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, from + i))), d, to + i);
}

inline int64_t Least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

}  // namespace

void RunLowWiden(const LowGemmArgs& args, const GemmRegion& region) {
  alignas(64) float strip[kStripRows * kStripStride];
  alignas(64) float block[kStackBlock];
  const int64_t k = args.b.k;
  const int64_t cuts = (k + kStackDepth - 1) / kStackDepth;
  const int64_t block_depth = (k + cuts - 1) / cuts;
  const int64_t block_columns = kStackBlock / block_depth / kPanel * kPanel;
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += block_columns) {
    const int64_t columns = Least(region.column_end - n0, block_columns);
    for (int64_t k0 = 0; k0 < k; k0 += block_depth) {
      const int64_t depth = Least(block_depth, k - k0);
      for (int64_t j = 0; j < columns; j += kPanel) {
        Widen(args.b, (n0 + j) * k + k0 * kPanel, depth * kPanel, block + j * depth);
      }
      ForStrips(region.row_begin, region.row_end, [&](int64_t row, int64_t rows) {
        const float* const a = args.a + row * args.a_stride + k0;
        MicroArgs micro = {};
        micro.a = rows == 1 ? a : strip;
        if (rows > 1) PackStrip(a, args.a_stride, 1, rows, depth, 1.0f, strip);
        micro.b = block;
        micro.b_row = kPanel;
        micro.b_panel = depth * kPanel;
        micro.c = args.c + row * args.c_stride + n0;
        micro.c_row = args.c_stride;
        micro.depth = depth;
        micro.accumulate = k0 > 0;
        RunPanels(micro, static_cast<int>(rows), columns, [](int64_t, int64_t) {});
        if (k0 + depth < k) return;
        FinishLow(args, LowSums{args.c + row * args.c_stride + n0, args.c_stride, row, rows, n0,
                                columns});
      });
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

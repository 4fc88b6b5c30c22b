// Products over packed and unpacked B, compiled once per target: blocks of B in L2, strips of A in
// L1, tiles in registers.
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/finish.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/pack.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

inline int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

}  // namespace

void RunGemm(const GemmArgs& args, const GemmPlan& plan, const GemmRegion& region) {
  alignas(64) float strip[kStripRows * kStripStride];
  const int64_t k = args.b.k;
  const bool finishes = args.residual != nullptr || args.activation != Activation::kNone;
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += plan.block_columns) {
    const int64_t n1 = Min(region.column_end, n0 + plan.block_columns);
    for (int64_t k0 = 0; k0 < k; k0 += plan.block_depth) {
      const int64_t depth = Min(plan.block_depth, k - k0);
      const bool last = k0 + depth == k;
      ForStrips(region.row_begin, region.row_end, [&](int64_t row, int64_t rows) {
        const float* const a = args.a + row * args.a_stride + k0;
        MicroArgs micro = {};
        micro.a = rows == 1 ? a : strip;  // a single row needs no stride
        if (rows > 1) PackStrip(a, args.a_stride, 1, rows, depth, 1.0f, strip);
        micro.b_panel = k * kPanel;
        micro.c = args.c + row * args.c_stride + n0;
        micro.c_row = args.c_stride;
        micro.depth = depth;
        micro.bias = last && args.bias != nullptr ? args.bias + n0 : nullptr;
        micro.accumulate = args.accumulate || k0 > 0;
        const float* const residual =
            args.residual == nullptr ? nullptr : args.residual + row * args.residual_stride + n0;
        float* const c = micro.c;
        const auto finish = [&](int64_t j, int64_t width) {
          if (!last || !finishes) return;
          Finish(c + j, args.c_stride, residual == nullptr ? nullptr : residual + j,
                 args.residual_stride, rows, width, args.activation);
        };
        micro.b = args.b.data + n0 * k + k0 * kPanel;
        micro.b_row = kPanel;
        RunPanels(micro, static_cast<int>(rows), n1 - n0, finish);
      });
    }
  }
}

void RunMatMul(const MatMulArgs& args, const GemmPlan& plan, int64_t matrix,
               const GemmRegion& region) {
  alignas(64) float strip[kStripRows * kStripStride];
  alignas(64) float block[kStackBlock];
  const int64_t outer = matrix / args.inner;
  const int64_t inner = matrix % args.inner;
  const float* const a = args.a + outer * args.a_outer + inner * args.a_inner;
  const float* const b = args.b + outer * args.b_outer + inner * args.b_inner;
  float* const c = args.c + outer * args.c_outer + inner * args.c_inner;
  if (args.k == 0) {
    for (int64_t i = region.row_begin; i < region.row_end; ++i) {
      for (int64_t j = region.column_begin; j < region.column_end; ++j) c[i * args.c_row + j] = 0;
    }
    return;
  }
  // One strip reads B once: whole panels straight from where they lie, when they lie in rows.
  const bool direct = region.row_end - region.row_begin <= kStripRows && args.b_column == 1;
  for (int64_t n0 = region.column_begin; n0 < region.column_end; n0 += plan.block_columns) {
    const int64_t columns = Min(region.column_end - n0, plan.block_columns);
    const int64_t whole = direct ? columns / kPanel * kPanel : 0;
    for (int64_t k0 = 0; k0 < args.k; k0 += plan.block_depth) {
      const int64_t depth = Min(plan.block_depth, args.k - k0);
      const float* const b_block = b + k0 * args.b_row + n0 * args.b_column;
      PackBlock(b_block + whole * args.b_column, args.b_row, args.b_column, depth, columns - whole,
                block);
      ForStrips(region.row_begin, region.row_end, [&](int64_t row, int64_t rows) {
        PackStrip(a + row * args.a_row + k0 * args.a_column, args.a_row, args.a_column, rows, depth,
                  args.alpha, strip);
        MicroArgs micro = {};
        micro.a = strip;
        micro.c = c + row * args.c_row + n0;
        micro.c_row = args.c_row;
        micro.depth = depth;
        micro.accumulate = k0 > 0;
        if (whole > 0) {
          micro.b = b_block;
          micro.b_row = args.b_row;
          micro.b_panel = kPanel;
          RunPanels(micro, static_cast<int>(rows), whole, [](int64_t, int64_t) {});
        }
        if (whole == columns) return;
        micro.c += whole;
        micro.b = block;
        micro.b_row = kPanel;
        micro.b_panel = depth * kPanel;
        RunPanels(micro, static_cast<int>(rows), columns - whole, [](int64_t, int64_t) {});
      });
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA

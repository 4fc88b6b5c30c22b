#include "kernels/block_int4.h"

#include <cstring>

#include "base/check.h"
#include "kernels/column_strips.h"
#include "kernels/cpu/block_gemm.h"
#include "kernels/cpu/pack_columns.h"

namespace sluice::kernels {
namespace {

BlockMatrix MatrixFor(int64_t k, int64_t n, int64_t group, Int4Kind kind) {
  BlockMatrix w;
  w.n = n;
  w.k = k;
  w.format =
      kind == Int4Kind::kWithMinimum ? tensor::BlockFormat::kQ4_1 : tensor::BlockFormat::kQ4_0;
  w.group = group;
  return w;
}

}  // namespace

bool Int4Takes(int64_t k, int64_t n, int64_t group) {
  return k >= 32 && k % 32 == 0 && n >= 1 && group >= 32 && group % 32 == 0 &&
         group <= kInt4GroupMax;
}

int64_t Int4Bytes(int64_t k, int64_t n, int64_t group, Int4Kind kind) {
  return Int4PanelBytes(MatrixFor(k, n, group, kind)) * ((n + kBlockPanel - 1) / kBlockPanel);
}

base::Result<BlockMatrix> PackInt4(MatrixParts parts, int64_t group, Int4Kind kind,
                                   std::byte* out) {
  const ColumnStrips strips(parts);
  CHECK(Int4Takes(strips.k(), strips.n(), group));
  BlockMatrix w = MatrixFor(strips.k(), strips.n(), group, kind);
  w.data = out;
  static_assert(kBlockPanel == kStripColumns);
  const int64_t panel_bytes = Int4PanelBytes(w);
  FirstColumn odd;
  strips.ForEach([&](const ColumnStrips::Strip& strip) {
    Int4Lane at;
    at.k = w.k;
    at.group = group;
    at.minimum = kind == Int4Kind::kWithMinimum;
    at.panel = out + strip.column / kBlockPanel * panel_bytes;
    if (strip.columns < kBlockPanel) std::memset(at.panel, 0, static_cast<size_t>(panel_bytes));
    for (at.lane = 0; at.lane < strip.columns; ++at.lane) {
      const float* const x = strip.x + at.lane * strip.stride;
      if (!SLUICE_PICK_ISA(ActiveTarget(), PackInt4Lane)(x, at)) odd.Note(strip.column + at.lane);
    }
    return true;
  });
  if (odd.any()) return odd.NotFinite();
  return w;
}

}  // namespace sluice::kernels

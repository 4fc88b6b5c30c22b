#include "kernels/packing.h"

#include "base/check.h"
#include "kernels/column_strips.h"
#include "kernels/cpu/transpose.h"
#include "kernels/plan/gemm_plan.h"

namespace sluice::kernels {
namespace {

// The column of a matrix [k, 1] once more, a vector of it behind the first half of each row of the
// panel: where rows are multiplied by it element by element, it is read as it is used.
void RepeatColumn(int64_t k, int64_t width, float* panel) {
  const int64_t lanes = width / 2;
  for (int64_t i = 0; i < k; ++i) panel[i / lanes * width + lanes + i % lanes] = panel[i * width];
}

}  // namespace

int64_t ColumnsOf(MatrixParts parts) {
  int64_t n = 0;
  for (const MatrixSource& part : parts) n += part.n;
  return n;
}

int64_t PackedMatrixBytes(int64_t k, int64_t n, Target target) {
  const int64_t width = PanelColumns(target);
  return k * ((n + width - 1) / width * width) * static_cast<int64_t>(sizeof(float));
}

PackedMatrix PackMatrix(MatrixParts parts, Target target, float* out) {
  const ColumnStrips strips(parts);
  const int64_t k = strips.k(), n = strips.n();
  CHECK(k >= 1 && n >= 1);
  CHECK_EQ(reinterpret_cast<uintptr_t>(out) % 64, 0u);
  const int64_t width = PanelColumns(target);
  if (n % width != 0) {
    // Strips leave the columns alone that are not there.
    float* const last = out + n / width * width * k;
    __builtin_memset(last, 0, static_cast<size_t>(width * k) * sizeof(float));
  }
  strips.ForEach([&](const ColumnStrips::Strip& strip) {
    float* const to = out + strip.column / width * width * k + strip.column % width;
    SLUICE_PICK_ISA(target, TransposeWords)
    (reinterpret_cast<const uint32_t*>(strip.x), strip.stride, strip.columns, k,
     reinterpret_cast<uint32_t*>(to), width);
    return true;
  });
  if (n == 1) RepeatColumn(k, width, out);
  return {out, k, n, target};
}

}  // namespace sluice::kernels

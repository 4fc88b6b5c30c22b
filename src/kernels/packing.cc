// Lays out B for the products' inner loop, at load.
#include <algorithm>

#include "base/check.h"
#include "kernels/gemm.h"
#include "kernels/plan/gemm_plan.h"
#include "tensor/float16.h"

namespace sluice::kernels {
namespace {

template <class T>
float AsFloat(T x) {
  if constexpr (std::is_same_v<T, float>)
    return x;
  else
    return tensor::ToFloat(x);
}

// The column of a matrix [k, 1] once more, a vector of it behind the first half of each row of the
// panel: where rows are multiplied by it element by element, it is read as it is used.
void RepeatColumn(int64_t k, int64_t width, float* panel) {
  const int64_t lanes = width / 2;
  for (int64_t i = 0; i < k; ++i) panel[i / lanes * width + lanes + i % lanes] = panel[i * width];
}

template <class T>
void PackPanels(const MatrixSource& source, int64_t width, float* out) {
  const T* const data = static_cast<const T*>(source.data);
  for (int64_t n0 = 0; n0 < source.n; n0 += width) {
    const int64_t columns = std::min(width, source.n - n0);
    float* const panel = out + n0 * source.k;
    for (int64_t k = 0; k < source.k; ++k) {
      const T* const row = data + k * source.k_stride + n0 * source.n_stride;
      float* const to = panel + k * width;
      for (int64_t j = 0; j < columns; ++j) to[j] = AsFloat(row[j * source.n_stride]);
      std::fill(to + columns, to + width, 0.0f);
    }
  }
}

}  // namespace

int64_t PackedMatrixBytes(int64_t k, int64_t n, Target target) {
  const int64_t width = PanelColumns(target);
  return k * ((n + width - 1) / width * width) * static_cast<int64_t>(sizeof(float));
}

PackedMatrix PackMatrix(const MatrixSource& source, Target target, float* out) {
  CHECK(source.k >= 1 && source.n >= 1);
  CHECK_EQ(reinterpret_cast<uintptr_t>(out) % 64, 0u);
  const int64_t width = PanelColumns(target);
  switch (source.dtype) {
    case tensor::DType::kF32:
      PackPanels<float>(source, width, out);
      break;
    case tensor::DType::kF16:
      PackPanels<tensor::F16>(source, width, out);
      break;
    case tensor::DType::kBF16:
      PackPanels<tensor::BF16>(source, width, out);
      break;
    default:
      CHECK(false) << "cannot pack " << tensor::DTypeName(source.dtype);
  }
  if (source.n == 1) RepeatColumn(source.k, width, out);
  return {out, source.k, source.n, target};
}

}  // namespace sluice::kernels

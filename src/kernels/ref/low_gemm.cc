#include "kernels/ref/low_gemm.h"

#include <algorithm>
#include <cmath>

#include "kernels/low_packing.h"
#include "kernels/ref/gemm.h"
#include "tensor/float16.h"

namespace sluice::kernels::ref {

std::vector<float> SeenRow(const float* x, int64_t k, WeightForm form, LowPath path) {
  std::vector<float> seen(x, x + k);
  if (path == LowPath::kWiden) return seen;
  if (form == WeightForm::kBF16) {
    for (float& v : seen) v = tensor::ToFloat(tensor::ToBF16(v));
    return seen;
  }
  float low = 0, high = 0;
  for (const float v : seen) {
    if (!std::isfinite(v)) return std::vector<float>(seen.size(), NAN);
    low = std::min(low, v);
    high = std::max(high, v);
  }
  const float span = high - low;
  if (!std::isfinite(span)) return std::vector<float>(seen.size(), NAN);
  if (span <= 1e-30f) return std::vector<float>(seen.size(), 0.0f);
  const auto factor = static_cast<double>(255.0f / span);
  const double zero = std::nearbyint(-static_cast<double>(low) * factor);
  for (float& v : seen) {
    const double code =
        std::clamp(std::nearbyint(static_cast<double>(v) * factor + zero), 0.0, 255.0);
    v = static_cast<float>((code - zero) * static_cast<double>(span / 255.0f));
  }
  return seen;
}

void LowGemm(const LowGemmArgs& args) {
  for (int64_t i = 0; i < args.m; ++i) {
    const std::vector<float> a =
        SeenRow(args.a + i * args.a_stride, args.b.k, args.b.form, args.b.path);
    for (int64_t j = 0; j < args.b.n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < args.b.k; ++k) {
        sum += static_cast<double>(a[static_cast<size_t>(k)]) *
               static_cast<double>(LowElement(args.b, k, j));
      }
      if (args.bias != nullptr) sum += static_cast<double>(args.bias[j]);
      const double residual =
          args.residual == nullptr
              ? 0.0
              : static_cast<double>(args.residual[i * args.residual_stride + j]);
      if (args.factor == nullptr) {
        sum = Activate(sum + residual, args.activation);
      } else {
        sum = Activate(sum, args.activation) *
                  static_cast<double>(args.factor[i * args.factor_stride + j]) +
              residual;
      }
      args.c[i * args.c_stride + j] = static_cast<float>(sum);
    }
  }
}

}  // namespace sluice::kernels::ref

#include "kernels/ref/block_gemm.h"

#include <algorithm>
#include <cmath>

#include "kernels/ref/blocks.h"

namespace sluice::kernels::ref {

std::vector<float> SeenInBlocks(const float* x, int64_t k) {
  std::vector<float> seen(x, x + k);
  for (int64_t b = 0; b < k; b += 32) {
    float peak = 0;
    bool finite = true;
    for (int64_t i = b; i < b + 32; ++i) {
      finite = finite && std::isfinite(x[i]);
      peak = std::max(peak, std::fabs(x[i]));
    }
    for (int64_t i = b; i < b + 32; ++i) {
      // The product rounds once: x times the factor of f32, exact in double.
      const double code =
          peak > 1e-35f
              ? std::nearbyint(static_cast<double>(x[i]) * static_cast<double>(127.0f / peak))
              : 0.0;
      seen[static_cast<size_t>(i)] =
          finite ? static_cast<float>(code * static_cast<double>(peak / 127.0f)) : NAN;
    }
  }
  return seen;
}

void BlockGemm(const BlockGemmArgs& args) {
  const int64_t k = args.w.k;
  std::vector<float> weights(static_cast<size_t>(k));
  std::vector<std::vector<float>> rows;
  for (int64_t i = 0; i < args.m; ++i) {
    const float* const x = args.a + i * args.a_stride;
    rows.push_back(TakesBlockRows(args.w) ? SeenInBlocks(x, k) : std::vector<float>(x, x + k));
  }
  for (int64_t j = 0; j < args.w.n; ++j) {
    BlockMatrixRow(args.w, j, weights.data());
    for (int64_t i = 0; i < args.m; ++i) {
      double sum = 0;
      for (size_t at = 0; at < weights.size(); ++at)
        sum += static_cast<double>(rows[static_cast<size_t>(i)][at]) *
               static_cast<double>(weights[at]);
      if (args.bias != nullptr) sum += static_cast<double>(args.bias[j]);
      if (args.residual != nullptr)
        sum += static_cast<double>(args.residual[i * args.residual_stride + j]);
      args.c[i * args.c_stride + j] = static_cast<float>(sum);
    }
  }
}

}  // namespace sluice::kernels::ref

#include "kernels/block_int4.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/check.h"
#include "kernels/cpu/block_gemm.h"
#include "tensor/float16.h"

namespace sluice::kernels {
namespace {

float ElementOf(const MatrixSource& source, int64_t k, int64_t n) {
  const int64_t at = k * source.k_stride + n * source.n_stride;
  switch (source.dtype) {
    case tensor::DType::kF16:
      return tensor::ToFloat(static_cast<const tensor::F16*>(source.data)[at]);
    case tensor::DType::kBF16:
      return tensor::ToFloat(static_cast<const tensor::BF16*>(source.data)[at]);
    default:
      return static_cast<const float*>(source.data)[at];
  }
}

BlockMatrix MatrixFor(int64_t k, int64_t n, int64_t group, Int4Kind kind) {
  BlockMatrix w;
  w.n = n;
  w.k = k;
  w.format =
      kind == Int4Kind::kWithMinimum ? tensor::BlockFormat::kQ4_1 : tensor::BlockFormat::kQ4_0;
  w.group = group;
  return w;
}

// A group's scale and minimum as they are kept: codes are chosen for the rounded ones.
struct GroupScale {
  tensor::BF16 scale, least;
};

GroupScale ScaleOf(const float* x, int64_t count, Int4Kind kind) {
  if (kind == Int4Kind::kWithMinimum) {
    const float low = *std::min_element(x, x + count), high = *std::max_element(x, x + count);
    const tensor::BF16 least = tensor::ToBF16(low);
    return {tensor::ToBF16(std::max(0.0f, (high - tensor::ToFloat(least)) / 15.0f)), least};
  }
  float peak = 0;
  for (int64_t i = 0; i < count; ++i)
    if (std::fabs(x[i]) > std::fabs(peak)) peak = x[i];
  return {tensor::ToBF16(peak / -8.0f), {}};
}

int CodeOf(float x, GroupScale by, Int4Kind kind) {
  const float scale = tensor::ToFloat(by.scale);
  const float least = tensor::ToFloat(by.least);
  const float middle = kind == Int4Kind::kWithMinimum ? 0.0f : 8.0f;
  if (scale == 0.0f) return static_cast<int>(middle);
  return static_cast<int>(std::clamp(std::nearbyint((x - least) / scale) + middle, 0.0f, 15.0f));
}

}  // namespace

bool Int4Takes(int64_t k, int64_t n, int64_t group) {
  return k >= 32 && k % 32 == 0 && n >= 1 && group >= 32 && group % 32 == 0 &&
         group <= kInt4GroupMax;
}

int64_t Int4Bytes(int64_t k, int64_t n, int64_t group, Int4Kind kind) {
  return Int4PanelBytes(MatrixFor(k, n, group, kind)) * ((n + kBlockPanel - 1) / kBlockPanel);
}

base::Result<BlockMatrix> PackInt4(const MatrixSource& source, int64_t group, Int4Kind kind,
                                   std::byte* out) {
  CHECK(Int4Takes(source.k, source.n, group));
  BlockMatrix w = MatrixFor(source.k, source.n, group, kind);
  w.data = out;
  std::memset(out, 0, static_cast<size_t>(Int4Bytes(source.k, source.n, group, kind)));
  float x[kInt4GroupMax];
  for (int64_t n = 0; n < source.n; ++n) {
    std::byte* at = out + n / kBlockPanel * Int4PanelBytes(w);
    const int64_t lane = n % kBlockPanel;
    for (int64_t k0 = 0; k0 < source.k; k0 += group) {
      const int64_t count = std::min(group, source.k - k0);
      for (int64_t i = 0; i < count; ++i) {
        x[i] = ElementOf(source, k0 + i, n);
        if (!std::isfinite(x[i])) {
          return base::InvalidArgument("element (" + std::to_string(k0 + i) + ", " +
                                       std::to_string(n) + ") of the weight is not finite");
        }
      }
      const GroupScale by = ScaleOf(x, count, kind);
      std::memcpy(at + 2 * lane, &by.scale, 2);
      if (kind == Int4Kind::kWithMinimum)
        std::memcpy(at + 2 * kBlockPanel + 2 * lane, &by.least, 2);
      at += Int4HeadBytes(w);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t j = i % 16;
        std::byte& byte = at[i / 32 * kInt4BlockBytes + (kBlockPanel * (j / 4) + lane) * 4 + j % 4];
        byte |= static_cast<std::byte>(CodeOf(x[i], by, kind) << (i % 32 < 16 ? 0 : 4));
      }
      at += count / 32 * kInt4BlockBytes;
    }
  }
  return w;
}

}  // namespace sluice::kernels

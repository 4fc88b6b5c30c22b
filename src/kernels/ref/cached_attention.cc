#include "kernels/ref/cached_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "tensor/float16.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

// Element (head, position, d) of the keys, or of the values, of a layer.
int64_t OffsetOf(const CacheLayer& layer, int64_t head, int64_t row, int64_t d, bool value) {
  const int64_t block = layer.dim * kCacheBlockRows;
  return (2 * head + (value ? 1 : 0)) * block +
         (value ? row * layer.dim + d : d * kCacheBlockRows + row);
}

void Put(const CacheLayer& layer, int32_t block, int64_t offset, double x) {
  std::byte* const data = layer.data + block * layer.block_bytes;
  const auto narrow = static_cast<float>(x);
  if (layer.type == DType::kF32) {
    std::memcpy(data + offset * 4, &narrow, 4);
    return;
  }
  const uint16_t bits =
      layer.type == DType::kF16 ? tensor::ToF16(narrow).bits : tensor::ToBF16(narrow).bits;
  std::memcpy(data + offset * 2, &bits, 2);
}

double Get(const CacheLayer& layer, int32_t block, int64_t offset) {
  const std::byte* const data = layer.data + block * layer.block_bytes;
  if (layer.type == DType::kF32) {
    float x;
    std::memcpy(&x, data + offset * 4, 4);
    return x;
  }
  uint16_t bits;
  std::memcpy(&bits, data + offset * 2, 2);
  return layer.type == DType::kF16 ? tensor::ToFloat(tensor::F16{bits})
                                   : tensor::ToFloat(tensor::BF16{bits});
}

std::vector<double> NormAndTurn(const kernels::CacheWriteArgs& args, int64_t row, const float* x,
                                const float* scale) {
  const int64_t dim = args.layer.dim;
  std::vector<double> y(x, x + dim);
  if (scale != nullptr) {
    double squares = 0;
    for (const double v : y) squares += v * v;
    const double factor = 1 / std::sqrt(squares / static_cast<double>(dim) + args.epsilon);
    for (int64_t d = 0; d < dim; ++d) y[static_cast<size_t>(d)] *= factor * scale[d];
  }
  const int64_t half = args.turned / 2;
  for (int64_t i = 0; i < half; ++i) {
    double& a = y[static_cast<size_t>(args.interleaved ? 2 * i : i)];
    double& b = y[static_cast<size_t>(args.interleaved ? 2 * i + 1 : i + half)];
    const double c = args.cos[row * half + i], s = args.sin[row * half + i];
    const double turned = a * c - b * s;
    b = b * c + a * s;
    a = turned;
  }
  return y;
}

void AttendOne(const kernels::CachedAttentionArgs& args, const CachedRows& sequence, int64_t i,
               int64_t head) {
  const CacheLayer& layer = args.layer;
  const int64_t key_head = head / (args.heads / layer.heads);
  const int64_t position = sequence.position + i;
  const int64_t first = args.window > 0 ? std::max<int64_t>(0, position - args.window + 1) : 0;
  const int64_t row = sequence.first_row + i;
  const float* const q = args.q + row * args.q_row + head * layer.dim;
  std::vector<double> weights;
  double highest = -INFINITY;
  const auto at = [&](int64_t j, int64_t d, bool value) {
    return Get(layer, sequence.blocks[j / kCacheBlockRows],
               OffsetOf(layer, key_head, j % kCacheBlockRows, d, value));
  };
  for (int64_t j = first; j <= position; ++j) {
    double score = 0;
    for (int64_t d = 0; d < layer.dim; ++d) score += q[d] * at(j, d, false);
    score *= args.scale;
    if (args.cap > 0) score = args.cap * std::tanh(score / args.cap);
    weights.push_back(score);
    highest = std::max(highest, score);
  }
  double sum = 0;
  for (double& w : weights) sum += w = std::exp(w - highest);
  for (int64_t d = 0; d < layer.dim; ++d) {
    double value = 0;
    for (int64_t j = first; j <= position; ++j) {
      value += weights[static_cast<size_t>(j - first)] * at(j, d, true);
    }
    args.out[row * args.out_row + head * layer.dim + d] = static_cast<float>(value / sum);
  }
}

}  // namespace

void CacheWrite(const kernels::CacheWriteArgs& args) {
  const CacheLayer& layer = args.layer;
  for (int64_t row = 0; row < args.rows; ++row) {
    float* const x = args.qkv + row * args.qkv_row;
    for (int64_t h = 0; h < args.heads; ++h) {
      float* const q = x + h * layer.dim;
      const std::vector<double> y = NormAndTurn(args, row, q, args.query_scale);
      std::transform(y.begin(), y.end(), q, [](double v) { return static_cast<float>(v); });
    }
    const CacheSlot slot = args.slots[row];
    for (int64_t h = 0; h < layer.heads; ++h) {
      float* const k = x + (args.heads + h) * layer.dim;
      const float* const v = k + layer.heads * layer.dim;
      const std::vector<double> y = NormAndTurn(args, row, k, args.key_scale);
      for (int64_t d = 0; d < layer.dim; ++d) {
        k[d] = static_cast<float>(y[static_cast<size_t>(d)]);
        Put(layer, slot.block, OffsetOf(layer, h, slot.row, d, false), k[d]);
        Put(layer, slot.block, OffsetOf(layer, h, slot.row, d, true), v[d]);
      }
    }
  }
}

void CachedAttention(const kernels::CachedAttentionArgs& args) {
  for (int64_t s = 0; s < args.sequence_count; ++s) {
    for (int64_t i = 0; i < args.sequences[s].rows; ++i) {
      for (int64_t h = 0; h < args.heads; ++h) AttendOne(args, args.sequences[s], i, h);
    }
  }
}

}  // namespace sluice::kernels::ref

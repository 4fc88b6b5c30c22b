#include "kernels/ref/heads_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace sluice::kernels::ref {
namespace {

void AttendOne(const kernels::AttentionArgs& args, int64_t b, int64_t h, int64_t i, int64_t keys) {
  const bool ragged = args.sequence_starts != nullptr;
  const int64_t key_head = args.key_heads == 0 ? h : h / (args.heads / args.key_heads);
  const auto row = [&](const HeadsView& view, int64_t head, int64_t s) {
    return ragged ? view.data + head * view.head + (args.sequence_starts[b] + s) * view.row
                  : view.data + b * view.batch + head * view.head + s * view.row;
  };
  float* const out =
      ragged ? args.out + h * args.out_head + (args.sequence_starts[b] + i) * args.out_row
             : args.out + b * args.out_batch + h * args.out_head + i * args.out_row;
  if (args.causal) keys = std::clamp<int64_t>(i + args.causal_offset + 1, 0, keys);
  if (args.window_after >= 0) keys = std::min(keys, i + args.window_after + 1);
  std::fill(out, out + args.value_dim, 0.0f);
  if (keys == 0) return;
  std::vector<double> weights(static_cast<size_t>(keys));
  double highest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < keys; ++j) {
    double score = 0;
    for (int64_t d = 0; d < args.dim; ++d) {
      score += static_cast<double>(row(args.q, h, i)[d]) * row(args.k, key_head, j)[d];
    }
    score *= args.scale;
    for (const RelativeBias& bias : args.relative) {
      if (bias.rows == nullptr) break;
      const int64_t at = args.sequence_starts[b] + (bias.by_key ? j : i);
      const int32_t column = bias.columns[j - i + bias.reach - 1];
      score += static_cast<double>(bias.factor) *
               bias.rows[h * bias.head + at * bias.row_stride + column];
    }
    if (args.mask != nullptr) {
      // Where the mask is so negative that f32 forgets the score, so must the reference.
      score = static_cast<float>(score) +
              args.mask[b * args.mask_batch + h * args.mask_head + i * args.mask_query + j];
    }
    if (args.window_before >= 0 && j < i - args.window_before) {
      score = -std::numeric_limits<double>::infinity();
    }
    weights[static_cast<size_t>(j)] = score;
    highest = std::max(highest, score);
  }
  double sum = 0;
  for (double& w : weights) {
    w = std::exp(w - highest);
    sum += w;
  }
  for (int64_t d = 0; d < args.value_dim; ++d) {
    double value = 0;
    for (int64_t j = 0; j < keys; ++j) {
      value += weights[static_cast<size_t>(j)] * row(args.v, key_head, j)[d];
    }
    out[d] = static_cast<float>(value / sum);
  }
}

}  // namespace

void HeadsAttention(const kernels::AttentionArgs& args) {
  for (int64_t b = 0; b < args.batch; ++b) {
    int64_t queries = args.queries, keys = args.keys;
    if (args.sequence_starts != nullptr) {
      queries = keys = args.sequence_starts[b + 1] - args.sequence_starts[b];
    } else if (args.key_lengths != nullptr) {
      keys = args.key_lengths[b];
    }
    for (int64_t h = 0; h < args.heads; ++h) {
      for (int64_t i = 0; i < queries; ++i) AttendOne(args, b, h, i, keys);
    }
  }
}

}  // namespace sluice::kernels::ref

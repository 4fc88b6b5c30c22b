// Feed-forward layers that are the sum of a few experts out of many (Shazeer et al., "Outrageously
// Large Neural Networks", 2017; as Qwen 3 MoE has them).
//
// A token's sum is taken in the order of the experts' numbers, so that its bits do not depend on
// which other tokens ask the same ones.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "lm/decoder/decoder.h"

namespace sluice::lm {
namespace {

// The shares of the `count` likeliest experts, the lower number first among equals, and 0 for all
// others. Takes the logits [experts] of those chosen away.
void Choose(float* logits, int64_t experts, int64_t count, bool normalize, float* shares) {
  const float highest = *std::max_element(logits, logits + experts);
  float all = 0;
  for (int64_t i = 0; i < experts; ++i) all += std::exp(logits[i] - highest);
  std::fill(shares, shares + experts, 0.0f);
  float chosen = 0;
  for (; count > 0; --count) {
    float* const best = std::max_element(logits, logits + experts);
    const float share = std::exp(*best - highest);
    shares[best - logits] = share;
    chosen += share;
    *best = -INFINITY;
  }
  const float scale = 1 / (normalize ? chosen : all);
  for (int64_t i = 0; i < experts; ++i) shares[i] *= scale;
}

}  // namespace

base::Status Decoder::LoadExperts(const Checkpoint& checkpoint, int64_t index,
                                  const Options& options, Layer& layer) const {
  const DecoderConfig& c = config_;
  const std::string prefix = "model.layers." + std::to_string(index) + ".mlp.";
  const StoredTensor router =
      TRY(checkpoint.GetStored(prefix + "gate.weight", tensor::Shape({c.experts, c.hidden})));
  // Small, and it decides everything: never narrow.
  layer.router = TRY(Linear::Load({router}, kernels::WeightForm::kF32));
  for (int64_t e = 0; e < c.experts; ++e) {
    const std::string own = prefix + "experts." + std::to_string(e) + ".";
    const tensor::Shape in({c.expert_feed_forward, c.hidden});
    const StoredTensor gate = TRY(checkpoint.GetStored(own + "gate_proj.weight", in));
    const StoredTensor up = TRY(checkpoint.GetStored(own + "up_proj.weight", in));
    const StoredTensor down = TRY(checkpoint.GetStored(
        own + "down_proj.weight", tensor::Shape({c.hidden, c.expert_feed_forward})));
    Expert expert;
    expert.gate_up = TRY(Linear::Load({gate, up}, options.form));
    expert.down = TRY(Linear::Load({down}, options.form));
    layer.experts.push_back(std::move(expert));
  }
  return base::Ok();
}

bool Decoder::RunExperts(const Layer& layer, Space& space, Runner& runner) const {
  const DecoderConfig& c = config_;
  LinearRows product;
  product.rows = space.rows;
  product.x = space.normed;
  product.x_stride = kernels::GemmRowStride(c.hidden);
  product.y = space.wide;
  product.y_stride = c.experts;
  if (!layer.router.Run(runner, product, space.scratch)) return false;
  constexpr double kElementNs = 4;
  const double choose_ns = kElementNs * static_cast<double>(space.rows * c.experts);
  const bool chosen = runner.RunTiles(space.rows, choose_ns, [&](kernels::Tiles range) {
    for (int64_t row = range.begin; row < range.end; ++row) {
      Choose(space.wide + row * c.experts, c.experts, c.experts_per_token, c.normalize_experts,
             space.shares + row * c.experts);
    }
  });
  if (!chosen) return false;
  for (int64_t e = 0; e < c.experts; ++e) {
    if (!RunExpert(layer, e, space, runner)) return false;
  }
  return true;
}

bool Decoder::RunExpert(const Layer& layer, int64_t index, Space& space, Runner& runner) const {
  const DecoderConfig& c = config_;
  const Expert& expert = layer.experts[static_cast<size_t>(index)];
  const int64_t stride = kernels::GemmRowStride(c.hidden);
  int64_t count = 0;
  for (int64_t row = 0; row < space.rows; ++row) {
    if (space.shares[row * c.experts + index] == 0) continue;
    space.asking[count] = static_cast<int32_t>(row);
    std::memcpy(space.routed + count++ * stride, space.normed + row * stride,
                static_cast<size_t>(c.hidden) * sizeof(float));
  }
  if (count == 0) return true;
  if (!RunGate(expert.gate_up, space.routed, count, space, runner)) return false;
  LinearRows product;
  product.rows = count;
  product.x = space.attended;
  product.x_stride = kernels::GemmRowStride(expert.down.k());
  product.y = space.said;
  product.y_stride = c.hidden;
  if (!expert.down.Run(runner, product, space.scratch)) return false;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = space.asking[i];
    const float share = space.shares[row * c.experts + index];
    float* const to = space.stream + row * c.hidden;
    const float* const from = space.said + i * c.hidden;
    for (int64_t j = 0; j < c.hidden; ++j) to[j] += share * from[j];
  }
  return true;
}

}  // namespace sluice::lm

// For tests: a checkpoint of seeded random tensors of whatever shape the model asks for, so that
// tests of engines need no files.
#pragma once

#include <cmath>
#include <functional>
#include <random>
#include <string>

#include "lm/checkpoint/checkpoint.h"
#include "lm/decoder/decoder_config.h"

namespace sluice::lm {

class RandomCheckpoint : public Checkpoint {
 public:
  explicit RandomCheckpoint(const DecoderConfig& config) : config_(config) {}

  base::Result<tensor::Tensor> Find(const std::string& name) const override {
    tensor::Tensor tensor =
        TRY(tensor::Tensor::Allocate(tensor::DType::kF32, ShapeOf(name), int64_t{1} << 30));
    std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(name)));
    const bool norm = tensor.shape.rank() == 1;
    const float spread = norm ? 0.1f : 1.5f / std::sqrt(static_cast<float>(tensor.shape[1]));
    std::normal_distribution<float> normal(norm ? 1.0f : 0.0f, spread);
    for (float& x : tensor.mutable_view().span<float>()) x = normal(random);
    return tensor;
  }

 private:
  tensor::Shape ShapeOf(const std::string& name) const {
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    const int64_t keys = config_.key_heads * config_.head_dim;
    const int64_t queries = config_.heads * config_.head_dim;
    if (has("norm")) return {config_.hidden};
    if (has("q_proj")) return {queries, config_.hidden};
    if (has("k_proj") || has("v_proj")) return {keys, config_.hidden};
    if (has("o_proj")) return {config_.hidden, queries};
    if (has("gate_proj") || has("up_proj")) return {config_.feed_forward, config_.hidden};
    if (has("down_proj")) return {config_.hidden, config_.feed_forward};
    if (has("score.weight")) return {config_.classes, config_.hidden};
    return {config_.vocabulary, config_.hidden};
  }

  const DecoderConfig config_;
};

// Two layers, grouped heads.
inline DecoderConfig SmallConfig() {
  DecoderConfig config;
  config.vocabulary = 300;
  config.hidden = 64;
  config.layers = 2;
  config.heads = 4;
  config.key_heads = 2;
  config.head_dim = 16;
  config.feed_forward = 128;
  config.context_max = 512;
  config.attention_scale = 0.25f;
  config.rotary.turned = 16;
  return config;
}

}  // namespace sluice::lm

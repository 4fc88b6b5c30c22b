// For tests and benches: a checkpoint of seeded random tensors of whatever shape the model asks
// for, so that tests of engines need no files.
#pragma once

#include <cmath>
#include <functional>
#include <random>
#include <string>

#include "lm/checkpoint/checkpoint.h"
#include "lm/decoder/decoder_config.h"

namespace sluice::lm {

// Of a tensor, by its name in Hugging Face's checkpoints.
inline tensor::Shape ShapeOf(const DecoderConfig& config, const std::string& name) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  const int64_t keys = config.key_heads * config.head_dim;
  const int64_t queries = config.heads * config.head_dim;
  if (has("q_proj.bias")) return {queries};
  if (has("bias")) return {keys};
  if (has("norm")) return {config.hidden};
  if (has("q_proj")) return {queries, config.hidden};
  if (has("k_proj") || has("v_proj")) return {keys, config.hidden};
  if (has("o_proj")) return {config.hidden, queries};
  if (has("gate_proj") || has("up_proj")) return {config.feed_forward, config.hidden};
  if (has("down_proj")) return {config.hidden, config.feed_forward};
  if (has("score.weight")) return {config.classes, config.hidden};
  return {config.vocabulary, config.hidden};
}

class RandomCheckpoint : public Checkpoint {
 public:
  explicit RandomCheckpoint(const DecoderConfig& config) : config_(config) {}

  base::Result<tensor::Tensor> Find(const std::string& name) const override {
    tensor::Tensor tensor = TRY(
        tensor::Tensor::Allocate(tensor::DType::kF32, ShapeOf(config_, name), int64_t{1} << 30));
    std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(name)));
    const bool norm = tensor.shape.rank() == 1;
    const float spread = norm ? 0.1f : 1.5f / std::sqrt(static_cast<float>(tensor.shape[1]));
    std::normal_distribution<float> normal(norm ? 1.0f : 0.0f, spread);
    for (float& x : tensor.mutable_view().span<float>()) x = normal(random);
    return tensor;
  }

 private:
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

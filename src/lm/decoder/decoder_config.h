// What a decoder is made of, whatever its checkpoint calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/activation.h"

namespace sluice::lm {

// How the angles of rotary embeddings are stretched for contexts longer than those of training.
// Where the way depends on the length of a sequence (kLongRope, kDynamic), it is that of the
// longest one that is served: a position's angles never depend on the request.
struct RotaryScaling {
  enum class Kind : uint8_t {
    kNone,
    kLinear,
    kLlama3,
    kYarn,
    kLongRope,
    kDynamic
  } kind = Kind::kNone;
  double factor = 1;
  double context = 8192;  // of training
  // Of Llama 3: wavelengths above context / low_factor are stretched, those below context /
  // high_factor are not, and what lies between is interpolated.
  double low_factor = 1;
  double high_factor = 4;
  // Of YaRN (Peng et al., 2023): pairs that turn more often than beta_fast in `context` positions
  // are not stretched, those below beta_slow are, and what lies between is interpolated.
  double beta_fast = 32;
  double beta_slow = 1;
  bool whole_pairs = true;  // the bounds between them are rounded to whole pairs
  // Of LongRoPE (Ding et al., 2024), [turned / 2]: what frequencies are divided by, for sequences
  // within `context` and for longer ones.
  std::vector<double> short_divisors, long_divisors;
  double magnitude = 1;  // cos and sin are multiplied by it
};

// Of one kind of attention layer.
struct RotaryConfig {
  double theta = 10000;
  int64_t turned = 0;        // elements of a head that are turned
  bool interleaved = false;  // pairs are neighbours, as in llama2.c and GGUF
  RotaryScaling scaling;
  int64_t length = 0;  // of the longest sequence that is served
};

struct DecoderConfig {
  int64_t vocabulary = 0;
  int64_t hidden = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t key_heads = 0;
  int64_t head_dim = 0;
  int64_t feed_forward = 0;
  int64_t context_max = 0;   // positions that it was made for
  int64_t context_most = 0;  // that a deployment may ask for, where it is more
  float norm_epsilon = 1e-5f;
  float attention_scale = 0;  // of scores
  bool tied_head = false;     // the head is the embedding
  bool has_head = true;       // false: its states are all that is wanted
  int64_t classes = 0;        // above 0: the head is a classifier's, of the last token's state
  kernels::Activation activation = kernels::Activation::kSilu;
  RotaryConfig rotary;

  bool merged_projections = false;    // Q, K, V are one tensor, gate and up another (Phi 3)
  bool query_key_value_bias = false;  // Qwen 2
  bool attention_output_bias = false;
  bool feed_forward_bias = false;
  bool head_norms = false;  // RMS norms of queries and keys (Qwen 3, Gemma 3)
  // Gemma: norms whose weights are stored less one, norms behind attention and feed-forward as
  // well, and a factor of the embedding.
  bool norms_less_one = false;
  bool outer_norms = false;
  float embedding_scale = 1;
  float attention_cap = 0;  // above 0: scores, or logits, become cap * tanh(score / cap)
  float logit_cap = 0;
  // Layers whose feed-forward part is the sum of a few of many (Qwen 3 MoE): each token's experts
  // are those that a router finds likeliest, weighed by their probabilities.
  int64_t experts = 0;
  int64_t experts_per_token = 0;
  int64_t expert_feed_forward = 0;
  bool normalize_experts = false;  // the chosen ones' probabilities become a sum of 1
  std::vector<bool> sparse;        // [layers], or empty: none

  bool is_sparse(int64_t layer) const {
    return !sparse.empty() && sparse[static_cast<size_t>(layer)];
  }

  // Layers that see their last `window` positions alone, and turn by angles of their own.
  int64_t window = 0;
  std::vector<bool> windowed;  // [layers], or empty: none
  RotaryConfig window_rotary;

  bool is_windowed(int64_t layer) const {
    return !windowed.empty() && windowed[static_cast<size_t>(layer)];
  }
};

// cos and sin [rows, turned / 2] of the positions, computed in double.
void FillAngles(const RotaryConfig& rotary, const std::vector<int32_t>& positions, float* cos,
                float* sin);

}  // namespace sluice::lm

// What an encoder is made of, as a folder's config.json says it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/activation.h"
#include "lm/decoder/decoder_config.h"

namespace sluice::lm {

enum class EncoderFamily : uint8_t { kBert, kRoberta, kModernBert };

// What is done to a classifier's logits: kAuto is the sigmoid of one label and the softmax of more.
enum class ScoreActivation : uint8_t { kAuto, kNone, kSigmoid, kSoftmax };

struct EncoderConfig {
  EncoderFamily family = EncoderFamily::kBert;
  int64_t vocabulary = 0;
  int64_t hidden = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t feed_forward = 0;
  int64_t context_max = 0;     // positions of a sequence
  int64_t types = 1;           // kinds of segments that have embeddings of their own
  int64_t first_position = 0;  // row of position 0 in the table of positions (RoBERTa's offset)
  float norm_epsilon = 1e-12f;
  kernels::Activation activation = kernels::Activation::kGeluErf;

  // ModernBERT: norms before each half of a layer, rotary embeddings in place of positions, gated
  // feed-forward layers, and biases only where they are said.
  bool norm_bias = true;
  bool attention_bias = true;
  bool feed_forward_bias = true;
  RotaryConfig rotary;
  RotaryConfig window_rotary;
  int64_t window = 0;          // positions on each side that a windowed layer sees
  std::vector<bool> windowed;  // [layers], or empty: none

  bool is_modern() const { return family == EncoderFamily::kModernBert; }
  bool is_windowed(int64_t layer) const {
    return !windowed.empty() && windowed[static_cast<size_t>(layer)];
  }

  // Of a sequence classifier; empty: the model gives embeddings.
  std::vector<std::string> labels;
  ScoreActivation score_activation = ScoreActivation::kAuto;
  bool classifier_mean = false;  // ModernBERT: it reads the mean of the tokens, not the first one
  bool classifier_bias = true;   // of the layer in front of the last one
  kernels::Activation classifier_activation = kernels::Activation::kTanh;
};

// Whether a model_type is one of the encoders: bert, roberta, xlm-roberta, modernbert.
bool IsEncoderFamily(std::string_view model_type);

// Reads config.json of an encoder. kUnimplemented names what is not built, kInvalidArgument the key
// that is wrong.
base::Result<EncoderConfig> ParseEncoderConfig(std::string_view config);

// The activation that a PyTorch class name means ("torch.nn.modules.linear.Identity", …);
// kUnimplemented for others.
base::Result<ScoreActivation> ParseScoreActivation(std::string_view name);
base::Result<kernels::Activation> ParseModuleActivation(std::string_view name);

}  // namespace sluice::lm

// What stands behind an encoder: a sequence's vectors become one, and that an embedding or a
// classifier's logits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "lm/checkpoint/checkpoint.h"
#include "lm/encoder/encoder.h"
#include "lm/encoder/encoder_config.h"
#include "lm/encoder/sentence_modules.h"
#include "lm/linear/linear.h"

namespace sluice::lm {

// Immutable after load; any thread may run it. All of it is f32: it is small, and it decides.
class EncoderHead {
 public:
  // Pooling and Dense modules of the folder; errors name the file.
  static base::Result<EncoderHead> LoadEmbedding(const std::string& folder,
                                                 const SentenceModules& modules,
                                                 const EncoderConfig& config);
  // The layers of the family's sequence classifier.
  static base::Result<EncoderHead> LoadClassifier(const Checkpoint& checkpoint,
                                                  const EncoderConfig& config);

  int64_t width() const { return width_; }  // of an embedding, or labels
  int64_t weight_bytes() const;
  // Work space for that many sequences.
  int64_t MemoryBytes(int64_t sequences) const;
  // The vectors [sequences, width] of `hidden` [rows, columns], the rows of `rows`; within
  // `memory`. Null: abandoned.
  [[nodiscard]] const float* Run(const float* hidden, const EncoderRows& rows, std::byte* memory,
                                 Runner& runner) const;

 private:
  struct Layer {
    Linear linear;
    kernels::Activation activation = kernels::Activation::kNone;
    std::vector<float> norm_scale;  // behind the activation; empty: no norm
    std::vector<float> norm_bias;   // empty: none
  };

  void Pool(const float* hidden, const EncoderRows& rows, int64_t sequence, float* out) const;

  int64_t columns_ = 0;  // of a token's vector
  std::vector<PoolingMode> pooling_;
  std::vector<Layer> layers_;
  int64_t width_ = 0;
  float norm_epsilon_ = 0;
};

}  // namespace sluice::lm

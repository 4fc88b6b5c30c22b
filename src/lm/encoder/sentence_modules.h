// What sentence-transformers puts behind an encoder: modules.json and the files that it names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kernels/activation.h"
#include "lm/encoder/encoder_config.h"

namespace sluice::lm {

// How the vectors of a sequence's tokens become one. kMeanSqrt divides by the root of the length,
// kWeightedMean weighs a token by its place, from 1 on.
enum class PoolingMode : uint8_t { kFirst, kMax, kMean, kMeanSqrt, kWeightedMean, kLast };

struct SentenceModules {
  // A linear layer behind the pooling, in a folder of its own.
  struct Dense {
    std::string folder;
    int64_t inputs = 0;
    int64_t outputs = 0;
    bool bias = true;
    kernels::Activation activation = kernels::Activation::kTanh;
  };

  std::vector<PoolingMode> pooling = {PoolingMode::kMean};  // side by side
  bool pools_prompt = true;  // false: the prompt's tokens are left out of the pooling
  std::vector<Dense> dense;
  bool normalize = true;
  int64_t length_max = 0;  // tokens of a text; 0: the model's context
  std::vector<std::pair<std::string, std::string>> prompts;  // by name
  std::string prompt_default;                                // of prompts; empty: none
  // Of a cross-encoder, where the folder says it.
  std::optional<ScoreActivation> score_activation;
};

// Reads a model's folder. Without a modules.json: the mean, normalised. kUnimplemented names a
// module or a setting that is not built, kInvalidArgument the file that is wrong.
base::Result<SentenceModules> ReadSentenceModules(const std::string& folder);

}  // namespace sluice::lm

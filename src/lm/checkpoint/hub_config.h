// config.json and generation_config.json of a model folder as Hugging Face's hub has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lm/decoder/decoder_config.h"
#include "lm/sampler.h"

namespace sluice::lm {

struct HubConfig {
  std::string family;  // model_type
  DecoderConfig decoder;
  std::vector<int32_t> end_ids;  // tokens that end an answer
  SamplingParameters sampling;   // of generation_config.json, where a request says nothing
};

// Reads config.json; `generation` is generation_config.json, empty when there is none. Families:
// llama, mistral, qwen2, qwen3, qwen3_moe, gemma2, gemma3_text, phi3. kUnimplemented names a family
// or a feature that is not built, kInvalidArgument the key that is wrong.
base::Result<HubConfig> ParseHubConfig(std::string_view config, std::string_view generation);

}  // namespace sluice::lm

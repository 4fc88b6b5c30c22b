// A version folder with an encoder: config.json, safetensors and what sentence-transformers adds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/engine.h"
#include "lm/encoder/encoder_model.h"

namespace sluice::lm {

// Whether the folder holds a config.json whose model_type is an encoder's.
bool HoldsEncoder(const std::string& folder);

struct EncoderLoadOptions {
  std::string model;  // name and version, for the description
  int64_t version = 0;
  EncoderModel::Options encoder;
};
// Errors name the file and what is wrong or not built.
base::Result<std::unique_ptr<engine::Engine>> LoadEncoder(const std::string& folder,
                                                          const EncoderLoadOptions& options);

}  // namespace sluice::lm

// A version folder with a language model: config.json and safetensors, as Hugging Face's hub keeps
// them.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "engine/engine.h"
#include "lm/language_model.h"

namespace sluice::lm {

// Whether the folder holds a config.json: it is a language model's then.
bool HoldsLanguageModel(const std::string& folder);

struct LoadOptions {
  std::string model;  // name and version, for the description
  int64_t version = 0;
  Decoder::Options decoder;
  LanguageModel::Options serving;
};
// Errors name the file and what is wrong or not built.
base::Result<std::unique_ptr<engine::Engine>> Load(const std::string& folder,
                                                   const LoadOptions& options);

}  // namespace sluice::lm

// A version folder with a language model: config.json and safetensors, as Hugging Face's hub keeps
// them, a GGUF file, which may be split, or a
// checkpoint of llama2.c.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "lm/checkpoint/checkpoint.h"
#include "lm/language_model.h"

namespace sluice::lm {

// Whether the folder holds a config.json or one of the other files: it is a language model's then.
bool HoldsLanguageModel(const std::string& folder);

// What a decoder's folder gives, whatever its files are.
struct DecoderSources {
  std::unique_ptr<const Checkpoint> checkpoint;
  DecoderConfig decoder;
  std::shared_ptr<const ModelText> text;  // null: it has no tokenizer
  std::vector<int32_t> end_ids;
  SamplingParameters sampling;  // where a request says nothing
  LinearForm form;              // where a deployment names none
};
// `gguf_file`: which one of a folder with several; empty: whatever the folder holds. Errors name
// the file and what is wrong or not built.
base::Result<DecoderSources> OpenDecoderFolder(const std::string& folder,
                                               const std::string& gguf_file);

struct LoadOptions {
  std::string model;  // name and version, for the description
  int64_t version = 0;
  std::string gguf_file;           // as OpenDecoderFolder takes it
  std::optional<LinearForm> form;  // none: as in a GGUF file, f32 of safetensors
  tensor::DType cache_type = tensor::DType::kF16;
  LanguageModel::Options serving;
  // Of a decoder that ranks documents, as MakeRerankForm takes them; empty: it is none.
  std::string rerank_template;
  std::string score_labels;
  std::optional<StatePooling> pooling;  // none: as modules.json says, or the last token's state
};
// Errors name the file and what is wrong or not built.
base::Result<std::unique_ptr<engine::Engine>> Load(const std::string& folder,
                                                   const LoadOptions& options);

}  // namespace sluice::lm

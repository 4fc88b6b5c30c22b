// Checkpoints of karpathy/llama2.c, the smallest format that holds a real model: versions 0 and 1.
#pragma once

#include <map>
#include <string>

#include "base/mmap.h"
#include "lm/checkpoint/checkpoint.h"
#include "lm/decoder/decoder_config.h"

namespace sluice::lm {

// Format: llama2.c, export.py: legacy_export and version1_export. Queries and keys stand there with
// the pairs of rotary embeddings side by side, so that config().rotary is interleaved.
class Llama2cCheckpoint : public Checkpoint {
 public:
  // kInvalidArgument when the file is none of either, or shorter or longer than its header says.
  static base::Result<Llama2cCheckpoint> Open(const std::string& path);

  base::Result<tensor::Tensor> Find(const std::string& name) const override;
  const DecoderConfig& config() const { return config_; }

 private:
  DecoderConfig config_;
  std::map<std::string, tensor::Tensor> tensors_;
};

}  // namespace sluice::lm

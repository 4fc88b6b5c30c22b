// The checkpoint of a GGUF file: its tensors by transformers' names, in the blocks of the file.
#pragma once

#include <memory>
#include <string>

#include "lm/checkpoint/checkpoint.h"
#include "tensor/gguf.h"

namespace sluice::lm {

// Tensors are views of the mapped file, which stays mapped while one of them lives.
class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(std::shared_ptr<const tensor::Gguf> gguf) : gguf_(std::move(gguf)) {}

  // Of tensors in blocks there is no Find but FindStored: kUnimplemented.
  base::Result<tensor::Tensor> Find(const std::string& name) const override;
  base::Result<StoredTensor> FindStored(const std::string& name) const override;

 private:
  std::shared_ptr<const tensor::Gguf> gguf_;
};

}  // namespace sluice::lm

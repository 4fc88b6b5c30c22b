// The checkpoint of a folder of safetensors.
#pragma once

#include <memory>
#include <string>

#include "lm/checkpoint/checkpoint.h"
#include "tensor/safetensors.h"

namespace sluice::lm {

class SafetensorsCheckpoint : public Checkpoint {
 public:
  // Errors as tensor::Safetensors::OpenFolder's.
  static base::Result<SafetensorsCheckpoint> Open(const std::string& folder);

  base::Result<tensor::Tensor> Find(const std::string& name) const override;
  base::Result<StoredTensor> FindStored(const std::string& name) const override;

 private:
  base::Result<const tensor::SafetensorsEntry*> FindEntry(const std::string& name) const;

  std::shared_ptr<const tensor::Safetensors> files_;
};

}  // namespace sluice::lm

#include "lm/safetensors_checkpoint.h"

namespace sluice::lm {

base::Result<SafetensorsCheckpoint> SafetensorsCheckpoint::Open(const std::string& folder) {
  SafetensorsCheckpoint checkpoint;
  checkpoint.files_ =
      std::make_shared<const tensor::Safetensors>(TRY(tensor::Safetensors::OpenFolder(folder)));
  return checkpoint;
}

base::Result<tensor::Tensor> SafetensorsCheckpoint::Find(const std::string& name) const {
  const tensor::SafetensorsEntry* const entry = files_->Find(name);
  if (entry == nullptr) return base::NotFound("there is no tensor " + name);
  tensor::Tensor tensor;
  tensor.dtype = entry->view.dtype;
  tensor.shape = entry->view.shape;
  tensor.buffer = tensor::Buffer::Wrap(files_, entry->view.data, entry->view.bytes());
  return tensor;
}

}  // namespace sluice::lm

#include "lm/checkpoint/safetensors_checkpoint.h"

namespace sluice::lm {

base::Result<SafetensorsCheckpoint> SafetensorsCheckpoint::Open(const std::string& folder) {
  SafetensorsCheckpoint checkpoint;
  checkpoint.files_ =
      std::make_shared<const tensor::Safetensors>(TRY(tensor::Safetensors::OpenFolder(folder)));
  return checkpoint;
}

base::Result<const tensor::SafetensorsEntry*> SafetensorsCheckpoint::FindEntry(
    const std::string& name) const {
  constexpr std::string_view kBase = "model.";
  const tensor::SafetensorsEntry* entry = files_->Find(name);
  // Saved as the base model alone, tensors lack the name of its place within others.
  if (entry == nullptr && name.starts_with(kBase)) entry = files_->Find(name.substr(kBase.size()));
  if (entry == nullptr) return base::NotFound("there is no tensor " + name);
  return entry;
}

base::Result<tensor::Tensor> SafetensorsCheckpoint::Find(const std::string& name) const {
  const tensor::SafetensorsEntry* const entry = TRY(FindEntry(name));
  tensor::Tensor tensor;
  tensor.dtype = entry->view.dtype;
  tensor.shape = entry->view.shape;
  tensor.buffer = tensor::Buffer::Wrap(files_, entry->view.data, entry->view.bytes());
  return tensor;
}

base::Result<StoredTensor> SafetensorsCheckpoint::FindStored(const std::string& name) const {
  StoredTensor stored = TRY(Checkpoint::FindStored(name));
  stored.mapped = TRY(FindEntry(name))->mapped;
  return stored;
}

}  // namespace sluice::lm

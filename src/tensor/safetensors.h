// Safetensors files and folders of them: tensors as views of the mapped bytes.
//
// Format: huggingface/safetensors, README "Format"; the index of a sharded model is what
// transformers writes beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mmap.h"
#include "base/result.h"
#include "tensor/tensor.h"
#include "tensor/view.h"

namespace sluice::tensor {

inline constexpr const char* kSafetensorsFile = "model.safetensors";
inline constexpr const char* kSafetensorsIndex = "model.safetensors.index.json";

// A tensor of a file. Narrow types take a byte an element; bools are not looked at.
struct SafetensorsEntry {
  std::string name;
  ConstView view;       // aligned to its element type
  bool mapped = false;  // whether it lies in the file, and is no copy
};

// Bounds of what a file may ask for.
struct SafetensorsLimits {
  int64_t header_bytes_max = 100'000'000;  // as the reference reader has it
  int64_t index_bytes_max = 100'000'000;
  int64_t tensors_max = 1'000'000;  // of all shards
  int64_t shards_max = 1'000;
};

// Some files, mapped. Immutable; any thread may read. Views stay valid while it lives, also when it
// is moved.
class Safetensors {
 public:
  // Wrong files are kInvalidArgument; element types that nothing here stores (complex numbers,
  // packed 4 and 6 bits) kUnimplemented. Tensors that do not lie at a multiple of their element's
  // size are copied, all others are views of the mapping.
  static base::Result<Safetensors> Open(const std::string& path,
                                        const SafetensorsLimits& limits = {});
  // The shards of `folder`'s model.safetensors.index.json where there is one, else its
  // model.safetensors. Shards are files of the folder itself: a name that holds a '/' is
  // kPermissionDenied. (A file may be a link, as in a download cache; whoever made the folder made
  // it.) Every tensor of the index must be in the shard that it names; others are left out.
  static base::Result<Safetensors> OpenFolder(const std::string& folder,
                                              const SafetensorsLimits& limits = {});
  // A whole file in memory that outlives the result. `name` is for messages.
  static base::Result<Safetensors> Parse(std::span<const std::byte> bytes, const std::string& name,
                                         const SafetensorsLimits& limits = {});

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // as they lie
  const SafetensorsEntry* Find(std::string_view name) const;                 // null when absent
  // "__metadata__" of the (first) file.
  const std::vector<std::pair<std::string, std::string>>& metadata() const { return metadata_; }

 private:
  base::Status Add(std::span<const std::byte> bytes, const std::string& name,
                   const SafetensorsLimits& limits);
  base::Status Index(const std::string& name);

  std::vector<base::MappedFile> files_;
  std::vector<Buffer> copies_;
  std::vector<SafetensorsEntry> entries_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace sluice::tensor

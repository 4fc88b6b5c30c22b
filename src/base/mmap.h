// A file mapped for reading: weights and tables are used where the page cache holds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/files.h"
#include "base/result.h"

namespace sluice::base {

// The bytes of a regular file as they were when it was mapped. Immutable; any thread may read. A
// file that shrinks while it is mapped kills the reader with SIGBUS, so model files are replaced by
// renaming, never by writing over them.
class MappedFile {
 public:
  // kInvalidArgument when `path` is no regular file; otherwise as OpenFile.
  static Result<MappedFile> Open(const std::string& path);
  // Maps an open file, which may be closed afterwards. `name` is for messages.
  static Result<MappedFile> Map(const FileHandle& file, const std::string& name);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  // Page-aligned; empty for an empty file.
  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(size_)}; }
  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

// Lets go of the whole pages among these bytes of a MappedFile: they cost this process no memory
// until they are read again, from the page cache where they still are. For what was read once. Of
// other memory the content would be lost.
void ForgetMapped(std::span<const std::byte> bytes);

}  // namespace sluice::base

#include "base/mmap.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::base {
Result<MappedFile> MappedFile::Open(const std::string& path) {
  return Map(TRY(OpenFile(path)), path);
}

Result<MappedFile> MappedFile::Map(const FileHandle& file, const std::string& name) {
  struct stat status {};
  if (fstat(file.fd(), &status) != 0) {
    return Internal("cannot look at '" + name + "': " + std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) return InvalidArgument("'" + name + "' is not a regular file");
  MappedFile mapped;
  if (status.st_size == 0) return mapped;
  const auto bytes = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (data == MAP_FAILED) {
    return ResourceExhausted("cannot map the " + std::to_string(status.st_size) + " bytes of '" +
                             name + "': " + std::strerror(errno));
  }
  mapped.data_ = static_cast<const std::byte*>(data);
  mapped.size_ = status.st_size;
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), static_cast<size_t>(size_));
}

void ForgetMapped(std::span<const std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  // Advice: a refusal is no error.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace sluice::base

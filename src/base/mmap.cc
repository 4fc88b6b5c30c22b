#include "base/mmap.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::base {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Files from here on ask for huge pages: rows of a table lie on pages of their own, and a look-up
// that misses the TLB waits for the page's walk longer than for the row.
constexpr size_t kHugeFileMin = size_t{32} << 20;

// Whether the file is large and would still leave half of the memory free: pages of 2 MiB around
// rows that are rarely read must not push out others.
bool WantsHugePages(size_t bytes) {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return bytes >= kHugeFileMin && pages > 0 && page > 0 &&
         bytes / static_cast<size_t>(page) <= static_cast<size_t>(pages) / 2;
}

// mmap at a multiple of kHugePage, since the cache's pages are aligned in the file, with the advice
// to read and map whole huge pages. File systems and kernels that cannot do it ignore both.
void* MapHuge(size_t bytes, int fd) {
  const size_t reserved_bytes = bytes + kHugePage;
  void* const reserved =
      mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return MAP_FAILED;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(reserved);
  const uintptr_t at = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (at + bytes + page - 1) / page * page;
  void* const data =
      mmap(reinterpret_cast<void*>(at), bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
  if (data == MAP_FAILED) {
    munmap(reserved, reserved_bytes);
    return MAP_FAILED;
  }
  if (at > begin) munmap(reserved, at - begin);
  const uintptr_t reserved_end = (begin + reserved_bytes + page - 1) / page * page;
  if (reserved_end > end) munmap(reinterpret_cast<void*>(end), reserved_end - end);
  (void)madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

}  // namespace

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
  void* data = WantsHugePages(bytes) ? MapHuge(bytes, file.fd())
                                     : mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.fd(), 0);
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

}  // namespace sluice::base

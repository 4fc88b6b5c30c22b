// Files and folders, opened and read with bounds, and names from outside resolved without leaving
// their folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sluice::base {

// An open file descriptor; closes it.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileHandle();
  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// kNotFound, kPermissionDenied, or kInternal with the system's reason; close-on-exec.
Result<FileHandle> OpenFile(const std::string& path);
Result<FileHandle> OpenFolder(const std::string& path);

// Opens the file or folder `relative` below the folder `root`. Whatever leads out of `root`
// (absolute, "..", a symbolic link that points outside) is kPermissionDenied. Links that stay
// inside work, except on kernels older than 5.6, where any link is refused.
Result<FileHandle> OpenBeneath(const FileHandle& root, const std::string& relative);
// The way for old kernels: one component at a time, following no link. Here so that it can be
// tested anywhere.
Result<FileHandle> OpenBeneathWithoutLinks(const FileHandle& root, const std::string& relative);

// Whether `name` may be one component of a path: not empty, not "." or "..", no '/' and no NUL, at
// most 255 bytes.
bool IsPathComponent(std::string_view name);

// The whole of a regular file. kResourceExhausted when it holds more than bytes_max;
// kInvalidArgument when it is no regular file. `name` is for messages.
Result<std::string> ReadFile(const std::string& path, int64_t bytes_max);
Result<std::string> ReadFile(const FileHandle& file, const std::string& name, int64_t bytes_max);

struct FolderEntry {
  std::string name;
  bool is_folder = false;  // links are followed
};
// Sorted by name, without "." and "..". kResourceExhausted above entries_max.
Result<std::vector<FolderEntry>> ListFolder(const std::string& path, int64_t entries_max = 100000);
Result<std::vector<FolderEntry>> ListFolder(const FileHandle& folder, const std::string& name,
                                            int64_t entries_max = 100000);

}  // namespace sluice::base

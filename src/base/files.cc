#include "base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace sluice::base {
namespace {

constexpr size_t kReadStep = size_t{1} << 20;

// The error of the system call that just failed on `path`.
Error SystemError(const std::string& what, const std::string& path, int reason) {
  std::string message = "cannot " + what + " '" + path + "': " + std::strerror(reason);
  if (reason == ENOENT || reason == ENOTDIR) return NotFound(std::move(message));
  if (reason == EACCES || reason == EPERM) return PermissionDenied(std::move(message));
  if (reason == EMFILE || reason == ENFILE) return ResourceExhausted(std::move(message));
  return Internal(std::move(message));
}

Result<FileHandle> Open(const std::string& path, int flags) {
  int fd = -1;
  do {
    fd = open(path.c_str(), flags | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return SystemError("open", path, errno);
  return FileHandle(fd);
}

Error Escapes(const std::string& relative) {
  return PermissionDenied("the path '" + relative + "' leads out of its folder");
}

}  // namespace

FileHandle::~FileHandle() {
  if (fd_ >= 0) close(fd_);
}

// O_NONBLOCK keeps a named pipe in a model folder from blocking the open; regular files ignore it.
Result<FileHandle> OpenFile(const std::string& path) {
  return Open(path, O_RDONLY | O_NONBLOCK);
}
Result<FileHandle> OpenFolder(const std::string& path) {
  return Open(path, O_RDONLY | O_DIRECTORY);
}

Result<FileHandle> OpenBeneath(const FileHandle& root, const std::string& relative) {
  if (relative.empty() || relative.find('\0') != std::string::npos) {
    return InvalidArgument("expected a relative path, got an empty one or one with a NUL");
  }
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: a rename raced with the resolution; a few tries settle it or the caller hears of it.
  for (int attempt = 0; attempt < 8; ++attempt) {
    const long fd = syscall(SYS_openat2, root.fd(), relative.c_str(), &how, sizeof(how));
    if (fd >= 0) return FileHandle(static_cast<int>(fd));
    if (errno == ENOSYS || errno == EPERM) return OpenBeneathWithoutLinks(root, relative);
    if (errno != EAGAIN && errno != EINTR) break;
  }
  if (errno == EXDEV || errno == ELOOP) return Escapes(relative);
  return SystemError("open", relative, errno);
}

Result<FileHandle> OpenBeneathWithoutLinks(const FileHandle& root, const std::string& relative) {
  if (relative.empty() || relative.find('\0') != std::string::npos) {
    return InvalidArgument("expected a relative path, got an empty one or one with a NUL");
  }
  if (relative.front() == '/') return Escapes(relative);
  FileHandle folder;
  size_t begin = 0;
  for (;;) {
    const size_t slash = std::min(relative.find('/', begin), relative.size());
    const std::string component = relative.substr(begin, slash - begin);
    const bool last = slash == relative.size();
    if (component == "..") return Escapes(relative);
    const std::string name = component.empty() ? "." : component;
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY);
    const int fd = openat(folder ? folder.fd() : root.fd(), name.c_str(), flags);
    if (fd < 0) {
      // O_NOFOLLOW reports a link as ELOOP, and together with O_DIRECTORY as ENOTDIR.
      struct stat status {};
      const int reason = errno;
      const int at = folder ? folder.fd() : root.fd();
      if (fstatat(at, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode)) {
        return Escapes(relative);
      }
      return SystemError("open", relative, reason);
    }
    folder = FileHandle(fd);
    if (last) return folder;
    begin = slash + 1;
  }
}

bool IsPathComponent(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

Result<std::string> ReadFile(const std::string& path, int64_t bytes_max) {
  return ReadFile(TRY(OpenFile(path)), path, bytes_max);
}

Result<std::string> ReadFile(const FileHandle& file, const std::string& name, int64_t bytes_max) {
  struct stat status {};
  if (fstat(file.fd(), &status) != 0) return SystemError("read", name, errno);
  if (!S_ISREG(status.st_mode)) return InvalidArgument("'" + name + "' is not a regular file");
  const auto limit = static_cast<size_t>(bytes_max);
  const auto too_long = [&] {
    return ResourceExhausted("'" + name + "' is longer than the limit of " +
                             std::to_string(bytes_max) + " bytes");
  };
  if (status.st_size > bytes_max) return too_long();
  std::string text;
  size_t length = 0;
  // Files of /proc and /sys say that they are empty, and a file may grow while it is read: read
  // until the end comes.
  text.resize(static_cast<size_t>(status.st_size) + 1);
  for (;;) {
    if (length == text.size()) text.resize(std::min(limit + 1, length + kReadStep));
    const ssize_t got =
        pread(file.fd(), text.data() + length, text.size() - length, static_cast<off_t>(length));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError("read", name, errno);
    if (got == 0) break;
    length += static_cast<size_t>(got);
    if (length > limit) return too_long();
  }
  text.resize(length);
  return text;
}

Result<std::vector<FolderEntry>> ListFolder(const std::string& path, int64_t entries_max) {
  return ListFolder(TRY(OpenFolder(path)), path, entries_max);
}

Result<std::vector<FolderEntry>> ListFolder(const FileHandle& folder, const std::string& name,
                                            int64_t entries_max) {
  const int copy = openat(folder.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return SystemError("list", name, errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(copy), closedir);
  if (stream == nullptr) {
    close(copy);
    return SystemError("list", name, errno);
  }
  std::vector<FolderEntry> entries;
  errno = 0;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view entry_name = entry->d_name;
    if (entry_name == "." || entry_name == "..") continue;
    if (static_cast<int64_t>(entries.size()) >= entries_max) {
      return ResourceExhausted("'" + name + "' has more than " + std::to_string(entries_max) +
                               " entries");
    }
    struct stat status {};
    const bool is_folder =
        fstatat(folder.fd(), entry->d_name, &status, 0) == 0 && S_ISDIR(status.st_mode);
    entries.push_back({std::string(entry_name), is_folder});
    errno = 0;
  }
  if (errno != 0) return SystemError("list", name, errno);
  std::sort(entries.begin(), entries.end(),
            [](const FolderEntry& a, const FolderEntry& b) { return a.name < b.name; });
  return entries;
}

}  // namespace sluice::base

#include "bin/hub/hub_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace sluice::bin {
namespace {

constexpr int64_t kReferenceBytesMax = 256;

base::Error SystemError(const std::string& what, const std::string& path, int reason) {
  std::string message = "cannot " + what + " '" + path + "': " + std::strerror(reason);
  if (reason == ENOSPC || reason == EDQUOT) {
    return base::ResourceExhausted(std::move(message) + " (HF_HOME names another place)");
  }
  if (reason == EACCES || reason == EPERM || reason == EROFS) {
    return base::PermissionDenied(std::move(message));
  }
  return base::Internal(std::move(message));
}

bool IsFolder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

base::Status MakeFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return SystemError("make the folder", path, error.value());
  return base::Ok();
}

// A name beside `path` that no other process uses.
std::string Beside(const std::string& path) {
  return path + "." + std::to_string(getpid()) + ".new";
}

base::Status Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return base::Ok();
  const int reason = errno;
  unlink(from.c_str());
  return SystemError("write", to, reason);
}

}  // namespace

bool IsBlobName(std::string_view etag) {
  return !etag.empty() && etag.size() <= 128 && etag.front() != '.' && etag.front() != '-' &&
         std::all_of(etag.begin(), etag.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '-' || c == '_' || c == '.';
         });
}

HubCache::HubCache(std::string root, const RepoName& repo) : root_(std::move(root)) {
  const std::string name = "models--" + repo.organisation + "--" + repo.name;
  locks_ = root_ + "/.locks/" + name;
  folder_ = root_ + "/" + name;
}

std::string HubCache::SnapshotOf(const std::string& commit) const {
  return folder_ + "/snapshots/" + commit;
}

std::string HubCache::FindSnapshot(const std::string& revision) const {
  std::string commit = revision;
  if (!IsCommit(revision)) {
    const auto reference = base::ReadFile(folder_ + "/refs/" + revision, kReferenceBytesMax);
    if (!reference.ok()) return "";
    commit = *reference;
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
    if (!base::IsPathComponent(commit)) return "";
  }
  const std::string snapshot = SnapshotOf(commit);
  return IsFolder(snapshot) ? snapshot : "";
}

int64_t HubCache::BlobBytes(const std::string& etag) const {
  struct stat info {};
  const bool found = stat(BlobPath(etag).c_str(), &info) == 0 && S_ISREG(info.st_mode);
  return found ? info.st_size : -1;
}

base::Status HubCache::MakeFolders() const {
  for (const std::string& folder :
       {folder_ + "/blobs", folder_ + "/refs", folder_ + "/snapshots", locks_}) {
    TRY(MakeFolder(folder));
  }
  return base::Ok();
}

base::Result<base::FileHandle> HubCache::Lock(const std::string& etag, bool try_only) const {
  const std::string path = locks_ + "/" + etag + ".lock";
  base::FileHandle file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664));
  if (!file) return SystemError("open", path, errno);
  while (flock(file.fd(), LOCK_EX | (try_only ? LOCK_NB : 0)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return base::Unavailable("another process holds '" + path + "'");
    return SystemError("lock", path, errno);
  }
  return file;
}

base::Status HubCache::Keep(const std::string& etag) const {
  const std::string partial = PartialPath(etag);
  if (rename(partial.c_str(), BlobPath(etag).c_str()) == 0) return base::Ok();
  return SystemError("rename", partial, errno);
}

base::Status HubCache::Link(const std::string& commit, const std::string& path,
                            const std::string& etag) const {
  const std::string link = SnapshotOf(commit) + "/" + path;
  TRY(MakeFolder(link.substr(0, link.rfind('/'))));
  std::string target = "../../";
  for (const char c : path) target += c == '/' ? "../" : "";
  target += "blobs/" + etag;
  const std::string fresh = Beside(link);
  unlink(fresh.c_str());
  if (symlink(target.c_str(), fresh.c_str()) != 0) return SystemError("link", fresh, errno);
  return Rename(fresh, link);
}

base::Status HubCache::Refer(const std::string& revision, const std::string& commit) const {
  const std::string path = folder_ + "/refs/" + revision;
  TRY(MakeFolder(path.substr(0, path.rfind('/'))));
  const std::string fresh = Beside(path);
  std::FILE* file = std::fopen(fresh.c_str(), "we");
  if (file == nullptr) return SystemError("write", fresh, errno);
  const bool written = std::fwrite(commit.data(), 1, commit.size(), file) == commit.size();
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed) return SystemError("write", fresh, errno);
  return Rename(fresh, path);
}

int64_t HubCache::FreeBytes() const {
  struct statvfs info {};
  if (statvfs(folder_.c_str(), &info) != 0) return -1;
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
}

}  // namespace sluice::bin

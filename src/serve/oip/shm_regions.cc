#include "serve/oip/shm_regions.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/files.h"

namespace sluice::serve {

using base::InvalidArgument;

namespace {

constexpr size_t kNameMax = 128;

base::Status CheckKey(const std::string& key, const std::string& prefix) {
  std::string_view rest = key;
  if (!rest.empty() && rest[0] == '/') rest.remove_prefix(1);
  bool plain = !rest.empty() && rest.size() <= kNameMax && rest[0] != '.';
  for (char c : rest) {
    plain =
        plain && (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.');
  }
  std::string full = "/" + std::string(rest);
  if (!plain || full.compare(0, prefix.size(), prefix) != 0) {
    return InvalidArgument("shared memory key: expected letters, digits, '_', '-' or '.' behind '" +
                           prefix + "'");
  }
  return base::Ok();
}

}  // namespace

base::Status ShmRegions::Register(const Region& region) {
  if (region.name.empty() || region.name.size() > kNameMax) {
    return InvalidArgument("shared memory region: expected a name of 1 to " +
                           std::to_string(kNameMax) + " bytes");
  }
  TRY(CheckKey(region.key, options_.prefix));
  int64_t end = 0;
  if (region.offset < 0 || region.bytes <= 0 ||
      __builtin_add_overflow(region.offset, region.bytes, &end)) {
    return InvalidArgument("shared memory region '" + region.name +
                           "': expected offset >= 0 and byte_size > 0");
  }
  std::string path = region.key[0] == '/' ? region.key : "/" + region.key;
  auto file = std::make_shared<base::FileHandle>(shm_open(path.c_str(), O_RDWR | O_CLOEXEC, 0));
  if (!*file)
    return InvalidArgument("shared memory region '" + region.name + "': cannot open its key");
  struct stat info {};
  if (fstat(file->fd(), &info) != 0 || end > info.st_size) {
    return InvalidArgument("shared memory region '" + region.name +
                           "': offset and byte_size reach past its end");
  }
  std::lock_guard lock(mutex_);
  if (regions_.count(region.name) != 0) {
    return base::AlreadyExists("shared memory region '" + region.name + "' already in manager");
  }
  if (static_cast<int64_t>(regions_.size()) >= options_.regions_max) {
    return base::ResourceExhausted("more than " + std::to_string(options_.regions_max) +
                                   " shared memory regions");
  }
  regions_[region.name] = {region, std::move(file)};
  return base::Ok();
}

void ShmRegions::Unregister(const std::string& name) {
  std::lock_guard lock(mutex_);
  if (name.empty()) {
    regions_.clear();
  } else {
    regions_.erase(name);
  }
}

base::Result<std::vector<ShmRegions::Region>> ShmRegions::Status(const std::string& name) const {
  std::lock_guard lock(mutex_);
  std::vector<Region> list;
  for (const auto& [key, entry] : regions_) {
    if (name.empty() || key == name) list.push_back(entry.region);
  }
  if (!name.empty() && list.empty()) {
    return base::NotFound("Unable to find system shared memory region: '" + name + "'");
  }
  return list;
}

base::Result<ShmRegions::Entry> ShmRegions::Find(const ShmSlice& slice) const {
  std::lock_guard lock(mutex_);
  auto found = regions_.find(slice.region);
  if (found == regions_.end()) {
    return InvalidArgument("Unable to find shared memory region: '" +
                           slice.region.substr(0, kNameMax) + "'");
  }
  int64_t end = 0;
  if (slice.offset < 0 || slice.bytes < 0 ||
      __builtin_add_overflow(slice.offset, slice.bytes, &end) || end > found->second.region.bytes) {
    return InvalidArgument("Invalid offset + byte size for shared memory region: '" + slice.region +
                           "'");
  }
  return found->second;
}

base::Result<tensor::Buffer> ShmRegions::Read(const ShmSlice& slice) const {
  Entry entry = TRY(Find(slice));
  tensor::Buffer buffer = tensor::Buffer::Allocate(slice.bytes);
  int64_t done = 0;
  while (done < slice.bytes) {
    ssize_t n =
        pread(entry.file->fd(), buffer.mutable_data() + done,
              static_cast<size_t>(slice.bytes - done), entry.region.offset + slice.offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return InvalidArgument("shared memory region '" + slice.region + "' is shorter than it was");
    done += n;
  }
  return buffer;
}

base::Status ShmRegions::Write(const ShmSlice& slice, std::string_view bytes) const {
  Entry entry = TRY(Find(slice));
  if (static_cast<int64_t>(bytes.size()) > slice.bytes) {
    return InvalidArgument("shared memory region '" + slice.region + "': expected room for " +
                           std::to_string(bytes.size()) + " bytes, got " +
                           std::to_string(slice.bytes));
  }
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = pwrite(entry.file->fd(), bytes.data() + done, bytes.size() - done,
                       entry.region.offset + slice.offset + static_cast<int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return base::Internal("shared memory region '" + slice.region + "' cannot be written");
    done += static_cast<size_t>(n);
  }
  return base::Ok();
}

}  // namespace sluice::serve

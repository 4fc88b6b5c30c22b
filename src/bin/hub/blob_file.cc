#include "bin/hub/blob_file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace sluice::bin {
namespace {

base::Error FileError(const std::string& what, const std::string& path) {
  std::string message = "cannot " + what + " '" + path + "': " + std::strerror(errno);
  if (errno == ENOSPC || errno == EDQUOT) {
    return base::ResourceExhausted(std::move(message) +
                                   ": what came so far is kept; HF_HOME names another place");
  }
  if (errno == EACCES || errno == EPERM || errno == EROFS) {
    return base::PermissionDenied(std::move(message));
  }
  return base::Internal(std::move(message));
}

}  // namespace

struct BlobFile::Digest {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~Digest() { EVP_MD_CTX_free(context); }
};

base::Result<BlobFile> BlobFile::Open(const std::string& path, int64_t bytes,
                                      std::string checksum) {
  base::FileHandle file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file) return FileError("open", path);
  BlobFile blob(std::move(file), path, bytes, std::move(checksum));
  TRY(blob.Begin());
  TRY(blob.ReadBegun());
  return blob;
}

base::Status BlobFile::Begin() {
  written_ = 0;
  const EVP_MD* kind = nullptr;
  std::string before;
  if (checksum_.size() == 64) kind = EVP_sha256();
  if (checksum_.size() == 40) {
    kind = EVP_sha1();
    before = "blob " + std::to_string(bytes_) + std::string(1, '\0');
  }
  digest_.reset();
  if (kind == nullptr) return base::Ok();
  digest_ = std::make_unique<Digest>();
  if (EVP_DigestInit_ex(digest_->context, kind, nullptr) != 1) {
    return base::Internal("OpenSSL has no such checksum");
  }
  EVP_DigestUpdate(digest_->context, before.data(), before.size());
  return base::Ok();
}

base::Status BlobFile::ReadBegun() {
  struct stat info {};
  if (fstat(file_.fd(), &info) != 0) return FileError("read", path_);
  if (!S_ISREG(info.st_mode) || info.st_size > bytes_) return Restart();
  std::vector<char> bytes(size_t{1} << 20);
  for (;;) {
    const ssize_t got = pread(file_.fd(), bytes.data(), bytes.size(), written_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError("read", path_);
    if (got == 0) return base::Ok();
    if (digest_ != nullptr) {
      EVP_DigestUpdate(digest_->context, bytes.data(), static_cast<size_t>(got));
    }
    written_ += got;
  }
}

base::Status BlobFile::Append(std::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > bytes_ - written_) {
    return base::ResourceExhausted("the server sends more than the " + std::to_string(bytes_) +
                                   " bytes that the file has");
  }
  while (!bytes.empty()) {
    const ssize_t put = pwrite(file_.fd(), bytes.data(), bytes.size(), written_);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FileError("write", path_);
    if (digest_ != nullptr) {
      EVP_DigestUpdate(digest_->context, bytes.data(), static_cast<size_t>(put));
    }
    written_ += put;
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return base::Ok();
}

base::Status BlobFile::Restart() {
  if (ftruncate(file_.fd(), 0) != 0) return FileError("write", path_);
  return Begin();
}

base::Result<bool> BlobFile::Finish() {
  if (fdatasync(file_.fd()) != 0) return FileError("write", path_);
  if (digest_ == nullptr) return true;
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_DigestFinal_ex(digest_->context, raw, &size) != 1) {
    return base::Internal("OpenSSL cannot tell a checksum");
  }
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[raw[i] >> 4];
    text += kDigits[raw[i] & 15];
  }
  return text == checksum_;
}

BlobFile::BlobFile(base::FileHandle file, std::string path, int64_t bytes, std::string checksum)
    : file_(std::move(file)),
      path_(std::move(path)),
      bytes_(bytes),
      checksum_(std::move(checksum)) {}
BlobFile::BlobFile(BlobFile&&) noexcept = default;
BlobFile::~BlobFile() = default;

}  // namespace sluice::bin

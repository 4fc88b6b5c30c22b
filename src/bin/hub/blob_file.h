// A file that grows while it is downloaded, over several attempts and processes, and its checksum.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/result.h"

namespace sluice::bin {

// One thread at a time; whoever has it holds the blob's lock.
class BlobFile {
 public:
  // Opens or creates `path` and reads what an earlier attempt has left. More than `bytes`: it
  // begins anew. `checksum`: 64 hexadecimal digits are sha256, 40 are git's sha1 of a blob;
  // anything else cannot be checked.
  static base::Result<BlobFile> Open(const std::string& path, int64_t bytes, std::string checksum);
  BlobFile(BlobFile&&) noexcept;
  ~BlobFile();

  int64_t written() const { return written_; }
  bool full() const { return written_ == bytes_; }
  // kResourceExhausted: the disk is full, or more comes than the file has.
  base::Status Append(std::string_view bytes);
  base::Status Restart();
  // Whether what was written has the checksum; on the disk afterwards.
  base::Result<bool> Finish();

 private:
  struct Digest;
  BlobFile(base::FileHandle file, std::string path, int64_t bytes, std::string checksum);
  base::Status ReadBegun();
  base::Status Begin();

  base::FileHandle file_;
  std::string path_;
  int64_t bytes_ = 0;
  std::string checksum_;
  std::unique_ptr<Digest> digest_;
  int64_t written_ = 0;
};

}  // namespace sluice::bin

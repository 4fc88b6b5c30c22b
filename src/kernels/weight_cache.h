// A folder of packed weights on disk: what one process has packed, the next one maps. A file counts
// for nothing until its checksum was verified; what is damaged is packed anew.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/files.h"
#include "base/result.h"
#include "kernels/low_gemm.h"
#include "kernels/packing.h"
#include "tensor/tensor.h"

namespace sluice::kernels {

// Thread-safe, and safe beside other processes on the same folder: files appear whole, by a rename,
// and are never written again.
//
// A file's name is a keyed hash of the weight's elements, or of what determines them where nobody
// has made them yet, and of all that its layout depends on. The key is the folder's own secret, so
// nobody who brings a model can aim at another model's weights.
class WeightCache {
 public:
  struct Options {
    std::string folder;                     // made, for this user alone, when it is not there
    int64_t bytes_max = int64_t{16} << 30;  // of all files; the least recently used go
  };
  // 128 bits that name a packed weight.
  using Name = std::array<uint64_t, 2>;

  // kPermissionDenied when others may write into the folder, else the system's reason.
  static base::Result<std::unique_ptr<WeightCache>> Open(Options options);

  // Whether weights of this shape are kept: dense, in either order.
  static bool Takes(MatrixParts parts);
  Name NameOf(MatrixParts parts, Target target) const;

  struct Mapped {
    PackedMatrix matrix;  // within the mapping
    int64_t bytes = 0;
    std::shared_ptr<const void> memory;  // the mapping
  };
  // kNotFound: it is not there, or was damaged and has been removed.
  base::Result<Mapped> Load(const Name& name, int64_t k, int64_t n, Target target) const;
  // Keeps a packed matrix of `bytes` bytes under the name. An error is worth a log line and no
  // more.
  base::Status Store(const Name& name, const PackedMatrix& matrix, int64_t bytes);

  // The same of weights of 16 and 8 bits, packed for the machine's path of now.
  Name NameOf(MatrixParts parts, WeightForm form) const;
  struct MappedLow {
    LowMatrix matrix;  // within the mapping
    int64_t bytes = 0;
    std::shared_ptr<const void> memory;
  };
  base::Result<MappedLow> Load(const Name& name, int64_t k, int64_t n, WeightForm form) const;
  base::Status Store(const Name& name, const LowMatrix& matrix);

  // The same of bytes that are used as they are: tables whose rows are looked up.
  Name NameOf(const tensor::Buffer& buffer) const;
  base::Result<tensor::Buffer> Load(const Name& name, int64_t bytes) const;
  base::Status Store(const Name& name, const tensor::Buffer& buffer);

  int64_t bytes() const;  // of the files, by now

 private:
  static constexpr size_t kKeyWords = 8;
  struct Header;
  struct File;
  WeightCache(Options options, std::array<uint64_t, kKeyWords> key)
      : options_(std::move(options)), key_(key) {}
  std::string PathOf(const Name& name) const;
  Name NameOf(MatrixParts parts, Target target, uint64_t layout) const;
  Name NameOfPart(const MatrixSource& source, Target target, uint64_t layout) const;
  Name NameOf(const tensor::Buffer& buffer, uint64_t seed) const;
  // The file whose header `accept` gives the data's size for; negative: it is damaged.
  template <class Accept>
  base::Result<File> Map(const Name& name, Accept accept) const;
  base::Status Keep(const Name& name, Header header, const void* data);
  void MakeRoom(int64_t bytes);

  const Options options_;
  const std::array<uint64_t, kKeyWords> key_;
  std::mutex storing_;
};

}  // namespace sluice::kernels

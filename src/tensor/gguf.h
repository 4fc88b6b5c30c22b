// GGUF files, versions 2 and 3: metadata and tensors, as views of the mapped bytes. Nothing is
// converted here.
//
// Format: the "GGUF" specification of the ggml project (docs/gguf.md), little-endian files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/function_ref.h"
#include "base/mmap.h"
#include "base/result.h"
#include "tensor/block_format.h"
#include "tensor/shape.h"

namespace sluice::tensor {

// Numbered as in the file.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
inline constexpr uint32_t kGgufTypeCount = 13;
const char* GgufTypeName(GgufType type);  // "uint8", "array", …

// A value of the metadata: a view, valid while its Gguf lives. Another type than asked for is
// kInvalidArgument.
class GgufValue {
 public:
  GgufType type() const { return type_; }
  // Integers of any width, where they fit.
  base::Result<uint64_t> AsUint() const;
  base::Result<int64_t> AsInt() const;
  base::Result<double> AsDouble() const;  // a float of either width, or an integer
  base::Result<bool> AsBool() const;
  base::Result<std::string_view> AsString() const;

  // Of an array: the type of its elements and their number; count() is 1 for the rest.
  GgufType element_type() const { return element_type_; }
  int64_t count() const { return count_; }
  // Calls visit for each element of an array, in order, until it fails; its error is returned.
  base::Status ForEachElement(base::FunctionRef<base::Status(const GgufValue&)> visit) const;
  // The bytes of an array of numbers or bools, packed and perhaps not aligned.
  base::Result<std::span<const std::byte>> PackedElements() const;

 private:
  friend class GgufReader;
  base::Error Mismatch(const char* expected) const;

  GgufType type_ = GgufType::kU8;
  GgufType element_type_ = GgufType::kU8;
  int64_t count_ = 1;
  std::span<const std::byte> bytes_;  // of a string without its length, of an array its elements
};

struct GgufTensor {
  std::string name;
  BlockFormat format = BlockFormat::kF32;
  Shape shape;  // row-major, the last extent innermost: GGUF's extents turned around
  const std::byte* data = nullptr;  // rows of blocks, packed; aligned to 8 bytes at least
  int64_t bytes = 0;
};

// Bounds of what a file may ask for.
struct GgufLimits {
  int64_t entries_max = 100'000;    // of metadata
  int64_t tensors_max = 1'000'000;  // of all parts
  int64_t key_bytes_max = 65'535;   // as the specification has it
  int64_t name_bytes_max = 4'096;   // of a tensor
  int nesting_max = 4;              // arrays of arrays
  int64_t parts_max = 1'000;        // files that a model is split into
};

// A file, or all parts of one, mapped. Immutable; any thread may read.
class Gguf {
 public:
  // A model that is split ("…-00001-of-00003.gguf") is opened by the path of any of its parts,
  // which lie in one folder. Wrong files are kInvalidArgument, tensors of a format that nothing
  // here reads kUnimplemented.
  static base::Result<Gguf> Open(const std::string& path, const GgufLimits& limits = {});
  // A whole file in memory that outlives the result; aligned to 64 bytes. `name` is for messages.
  // A part of a split model is refused.
  static base::Result<Gguf> Parse(std::span<const std::byte> bytes, const std::string& name,
                                  const GgufLimits& limits = {});

  uint32_t version() const { return version_; }
  // Metadata in the order of the (first) file.
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const { return metadata_; }
  const GgufValue* Find(std::string_view key) const;  // null when absent
  // The value of `key`, which must be there: kInvalidArgument names it.
  base::Result<uint64_t> Uint(std::string_view key) const;
  base::Result<double> Double(std::string_view key) const;
  base::Result<std::string_view> String(std::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in the order of the files
  const GgufTensor* FindTensor(std::string_view name) const;           // null when absent

 private:
  friend class GgufReader;
  base::Status Index(const std::string& name);

  uint32_t version_ = 3;
  std::vector<base::MappedFile> files_;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, size_t> key_index_;
  std::unordered_map<std::string, size_t> tensor_index_;
};

}  // namespace sluice::tensor

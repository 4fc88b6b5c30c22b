// Packed weights of the whole process: equal content is packed once and shared by every model and
// instance.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "base/result.h"
#include "kernels/gemm.h"

namespace sluice::kernels {

// A packed matrix and its memory, immutable. Shared by plans; freed with the last of them.
class PackedWeight {
 public:
  PackedWeight(PackedMatrix matrix, void* mapping, int64_t bytes)
      : matrix_(matrix), mapping_(mapping), bytes_(bytes) {}
  PackedWeight(const PackedWeight&) = delete;
  PackedWeight& operator=(const PackedWeight&) = delete;
  ~PackedWeight();

  const PackedMatrix& matrix() const { return matrix_; }
  int64_t bytes() const { return bytes_; }

 private:
  PackedMatrix matrix_;
  void* mapping_;
  int64_t bytes_;
};

// Thread-safe. Holds weak references only: what no plan uses is gone. The process has one
// (Process()); tests make their own.
class WeightStore {
 public:
  static WeightStore& Process();

  // `source` packed for ActiveTarget(). kInvalidArgument for sizes below 1 or that overflow, or
  // another dtype than f32, f16, bf16; kResourceExhausted when memory is refused. Packing runs
  // outside the lock, so that loading one model never delays another's lookup; of two racing
  // threads one result is kept.
  base::Result<std::shared_ptr<const PackedWeight>> Pack(const MatrixSource& source);

  // Bytes of the packed weights alive now, and how many they are.
  int64_t resident_bytes() const;
  int64_t resident_count() const;

 private:
  // 128-bit hash of the content as f32 in (k, n) order, with the shape and the layout.
  struct Key {
    uint64_t hash_high, hash_low;
    int64_t k, n;
    Target target;
    auto operator<=>(const Key&) const = default;
  };

  mutable std::mutex mutex_;
  std::map<Key, std::weak_ptr<const PackedWeight>> weights_;
};

}  // namespace sluice::kernels

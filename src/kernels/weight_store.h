// Packed weights of the whole process: equal content is packed once and shared by every model and
// instance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "base/result.h"
#include "kernels/low_gemm.h"
#include "kernels/packing.h"
#include "kernels/weight_cache.h"
#include "tensor/arena.h"

namespace sluice::kernels {

// A packed matrix, immutable. Shared by plans; it keeps its memory alive.
class PackedWeight {
 public:
  PackedWeight(PackedMatrix matrix, int64_t bytes, std::shared_ptr<const void> memory)
      : matrix_(matrix), bytes_(bytes), memory_(std::move(memory)) {}

  const PackedMatrix& matrix() const { return matrix_; }
  int64_t bytes() const { return bytes_; }

 private:
  PackedMatrix matrix_;
  int64_t bytes_;
  std::shared_ptr<const void> memory_;
};

// The same of a matrix of 8 or 16 bits.
class LowWeight {
 public:
  LowWeight(LowMatrix matrix, int64_t bytes, std::shared_ptr<const void> memory)
      : matrix_(matrix), bytes_(bytes), memory_(std::move(memory)) {}

  const LowMatrix& matrix() const { return matrix_; }
  int64_t bytes() const { return bytes_; }

 private:
  LowMatrix matrix_;
  int64_t bytes_;
  std::shared_ptr<const void> memory_;
};

// Thread-safe. Holds weak references only: what no plan uses is gone. The process has one,
// Process(); tests make their own. Weights lie side by side in slabs of 2 MiB pages; a slab is
// returned to the system when its last weight is gone.
class WeightStore {
 public:
  static WeightStore& Process();

  // The columns of `parts` packed for ActiveTarget(). Bytes that nobody has made yet are made only
  // where neither the process nor the cache has what they are packed to. A hash of what is packed
  // finds a candidate and a comparison of every byte decides, so no file can be crafted to receive
  // another's weights. Packing and hashing run outside the lock; when two threads race for the same
  // content one result is kept. kInvalidArgument for sizes below 1, for what would exceed
  // kWeightBytesMax, and for dtypes other than f32, f16 and bf16; kResourceExhausted when memory is
  // refused; kUnavailable when a file that the bytes come from was written over meanwhile.
  base::Result<std::shared_ptr<const PackedWeight>> Pack(MatrixParts parts);
  base::Result<std::shared_ptr<const PackedWeight>> Pack(const MatrixSource& source) {
    return Pack(MatrixParts(&source, 1));
  }

  // From now on packing maps what the cache holds and leaves there what it has made. Null: no
  // cache. A weight that the cache names needs no comparison: nobody can aim at a name without its
  // key.
  void UseCache(std::shared_ptr<WeightCache> cache);

  // The same as `form`, which takes the size (LowFormTakes), for the machine's path of now. Errors
  // as Pack's, and kInvalidArgument for what int8 cannot hold.
  base::Result<std::shared_ptr<const LowWeight>> PackLow(MatrixParts parts, WeightForm form);
  base::Result<std::shared_ptr<const LowWeight>> PackLow(const MatrixSource& source,
                                                         WeightForm form) {
    return PackLow(MatrixParts(&source, 1), form);
  }

  // Bytes that are used as they are: themselves where they lie in memory or in a file that can be
  // mapped as it is, else mapped from the cache, else made.
  tensor::Buffer Hold(const tensor::Buffer& buffer);

  // Bytes of the packed weights alive now, and how many they are.
  int64_t resident_bytes() const;
  int64_t resident_count() const;

 private:
  struct Slab {
    tensor::Arena arena;
  };
  // Memory of a slab that is being filled.
  struct Room {
    std::shared_ptr<Slab> slab;
    std::byte* data = nullptr;
    int64_t bytes = 0;
  };

  template <class Weight>
  using NamedWeights = std::map<WeightCache::Name, std::weak_ptr<const Weight>>;
  template <class Weight>
  using KnownWeights = std::multimap<uint64_t, std::weak_ptr<const Weight>>;  // by content's hash

  // The weight of this name: the living one, else a mapped one, else one packed now.
  template <class Weight, class Map, class Make>
  base::Result<std::shared_ptr<const Weight>> Named(NamedWeights<Weight>& named,
                                                    KnownWeights<Weight>& known,
                                                    const WeightCache::Name& name, Map map,
                                                    Make make);
  // Both run without the lock, on parts whose bytes are made.
  base::Result<std::shared_ptr<const PackedWeight>> PackNow(MatrixParts parts, Target target);
  base::Result<std::shared_ptr<const LowWeight>> PackLowNow(MatrixParts parts, WeightForm form);
  base::Result<std::shared_ptr<const PackedWeight>> PackCached(WeightCache& cache,
                                                               MatrixParts parts, Target target);
  base::Result<std::shared_ptr<const LowWeight>> PackLowCached(WeightCache& cache,
                                                               MatrixParts parts, WeightForm form);

  base::Result<Room> Reserve(int64_t bytes);
  // What was packed into `room`, or the living weight that equals it.
  template <class Weight, class Matrix>
  std::shared_ptr<const Weight> Keep(KnownWeights<Weight>& known, const Matrix& matrix,
                                     int64_t bytes, Room room);

  mutable std::mutex mutex_;
  KnownWeights<PackedWeight> weights_;
  KnownWeights<LowWeight> low_weights_;
  NamedWeights<PackedWeight> named_;   // some of weights_
  NamedWeights<LowWeight> named_low_;  // some of low_weights_
  std::shared_ptr<WeightCache> cache_;
  std::weak_ptr<Slab> slab_;  // the one that still has room
};

inline constexpr int64_t kWeightBytesMax = int64_t{64} << 30;

}  // namespace sluice::kernels

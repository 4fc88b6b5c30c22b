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
#include "kernels/low_gemm.h"
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

  // `source` packed for ActiveTarget(). Bytes that nobody has made yet are made only where neither
  // the process nor the cache has what they are packed to. A hash finds a candidate and a
  // comparison of every element decides, so no file can be crafted to receive another's weights.
  // Hashing, comparing and packing run outside the lock; when two threads race for the same content
  // one result is kept. kInvalidArgument for sizes below 1, for what would exceed kWeightBytesMax,
  // and for dtypes other than f32, f16 and bf16; kResourceExhausted when memory is refused;
  // kUnavailable when a file that the bytes come from was written over meanwhile.
  base::Result<std::shared_ptr<const PackedWeight>> Pack(const MatrixSource& source);

  // From now on packing maps what the cache holds and leaves there what it has made. Null: no
  // cache. A weight that the cache names needs no comparison: nobody can aim at a name without its
  // key.
  void UseCache(std::shared_ptr<WeightCache> cache);

  // `source` packed as `form`, which takes its size (LowFormTakes), for the machine's path of now.
  // Equal packed bytes are shared. Errors as Pack's, and kInvalidArgument for what int8 cannot
  // hold.
  base::Result<std::shared_ptr<const LowWeight>> PackLow(const MatrixSource& source,
                                                         WeightForm form);

  // Bytes that are used as they are: themselves where they lie in memory or in a file that can be
  // mapped as it is, else mapped from the cache, else made.
  tensor::Buffer Hold(const tensor::Buffer& buffer);

  // Bytes of the packed weights alive now, and how many they are.
  int64_t resident_bytes() const;
  int64_t resident_count() const;

 private:
  struct Key {
    uint64_t hash;  // of the elements as f32
    int64_t k;
    int64_t n;
    Target target;
    auto operator<=>(const Key&) const = default;
  };
  struct Slab {
    tensor::Arena arena;
  };

  template <class Weight>
  using NamedWeights = std::map<WeightCache::Name, std::weak_ptr<const Weight>>;

  // The weight of this name: the living one, else a mapped one, else one packed now.
  template <class Weight, class Map, class Make, class Adopt>
  base::Result<std::shared_ptr<const Weight>> Named(NamedWeights<Weight>& named,
                                                    const WeightCache::Name& name, Map map,
                                                    Make make, Adopt adopt);
  base::Result<std::shared_ptr<const PackedWeight>> PackNow(const MatrixSource& source,
                                                            Target target);
  base::Result<std::shared_ptr<const PackedWeight>> PackCached(WeightCache& cache,
                                                               const MatrixSource& source,
                                                               Target target);
  std::shared_ptr<const PackedWeight> Find(const Key& key, const MatrixSource& source);
  // `bytes` of a slab, with the slab itself as owner.
  base::Result<std::shared_ptr<float>> Reserve(int64_t bytes);

  base::Result<std::shared_ptr<const LowWeight>> PackLowNow(const MatrixSource& source,
                                                            WeightForm form);
  base::Result<std::shared_ptr<const LowWeight>> PackLowCached(WeightCache& cache,
                                                               const MatrixSource& source,
                                                               WeightForm form);
  // Under the lock: a living weight with the same bytes.
  std::shared_ptr<const LowWeight> FindLow(uint64_t hash, const LowMatrix& matrix) const;

  mutable std::mutex mutex_;
  std::multimap<uint64_t, std::weak_ptr<const LowWeight>> low_weights_;  // by their bytes' hash
  std::multimap<Key, std::weak_ptr<const PackedWeight>> weights_;
  NamedWeights<PackedWeight> named_;   // some of weights_
  NamedWeights<LowWeight> named_low_;  // some of low_weights_
  std::shared_ptr<WeightCache> cache_;
  std::weak_ptr<Slab> slab_;  // the one that still has room
};

inline constexpr int64_t kWeightBytesMax = int64_t{64} << 30;

}  // namespace sluice::kernels

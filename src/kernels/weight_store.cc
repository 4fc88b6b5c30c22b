#include "kernels/weight_store.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "base/log.h"
#include "kernels/low_packing.h"
#include "kernels/plan/gemm_plan.h"
#include "tensor/float16.h"
#include "tensor/tensor.h"

namespace sluice::kernels {
namespace {

constexpr int64_t kSlabBytes = int64_t{16} << 20;

// Calls f(k, n, bits of the element as f32) in (k, n) order until it returns false.
template <class T, class F>
bool ForElements(const MatrixSource& source, F f) {
  const T* const data = static_cast<const T*>(source.data);
  for (int64_t k = 0; k < source.k; ++k) {
    for (int64_t n = 0; n < source.n; ++n) {
      const T x = data[k * source.k_stride + n * source.n_stride];
      float value;
      if constexpr (std::is_same_v<T, float>) {
        value = x;
      } else {
        value = tensor::ToFloat(x);
      }
      if (!f(k, n, std::bit_cast<uint32_t>(value))) return false;
    }
  }
  return true;
}

template <class F>
bool ForElements(const MatrixSource& source, F f) {
  switch (source.dtype) {
    case tensor::DType::kF32:
      return ForElements<float>(source, f);
    case tensor::DType::kF16:
      return ForElements<tensor::F16>(source, f);
    case tensor::DType::kBF16:
      return ForElements<tensor::BF16>(source, f);
    default:
      CHECK(false) << tensor::DTypeName(source.dtype);
  }
  return false;
}

// Four interleaved multiplicative chains, so that the multiplier's latency does not set the pace.
// Only a finder: equality is checked element by element.
uint64_t Hash(const MatrixSource& source) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  uint64_t lanes[4] = {1, 2, 3, 4};
  ForElements(source, [&](int64_t, int64_t n, uint32_t bits) {
    uint64_t& lane = lanes[n & 3];
    lane = (lane ^ bits) * kOdd;
    lane ^= lane >> 29;
    return true;
  });
  uint64_t hash = 0;
  for (uint64_t lane : lanes) hash = std::rotl((hash ^ lane) * kOdd, 31);
  return hash;
}

bool Equal(const PackedMatrix& packed, const MatrixSource& source) {
  const int64_t width = PanelColumns(packed.target);
  return ForElements(source, [&](int64_t k, int64_t n, uint32_t bits) {
    const float x = packed.data[n / width * width * packed.k + k * width + n % width];
    return std::bit_cast<uint32_t>(x) == bits;
  });
}

base::Status Validate(const MatrixSource& source) {
  if (source.dtype != tensor::DType::kF32 && source.dtype != tensor::DType::kF16 &&
      source.dtype != tensor::DType::kBF16) {
    return base::InvalidArgument("a weight to pack is f32, f16 or bf16, not " +
                                 std::string(tensor::DTypeName(source.dtype)));
  }
  const int64_t elements_max = kWeightBytesMax / static_cast<int64_t>(sizeof(float));
  if (source.k < 1 || source.n < 1 || source.n > elements_max ||
      source.k > elements_max / (source.n + 31)) {
    return base::InvalidArgument("a weight of " + std::to_string(source.k) + " x " +
                                 std::to_string(source.n) + " cannot be packed: at most " +
                                 std::to_string(kWeightBytesMax) + " bytes");
  }
  return base::Ok();
}

// With its bytes made.
MatrixSource Made(MatrixSource source) {
  if (source.data == nullptr) source.data = source.buffer->data();
  return source;
}

// A name told before the bytes were read, and another after: what was packed is not what was named.
base::Status CheckName(const WeightCache::Name& told, const WeightCache::Name& now) {
  if (told == now) return base::Ok();
  return base::Unavailable("a file of the model was written over while it was read");
}

void TellIfNotStored(const base::Status& stored) {
  if (stored.ok()) return;
  static base::LogLimit limit(base::Duration::Seconds(10));
  base::Log(base::LogLevel::kWarning, "weight_cache_not_written", limit)
      .With("reason", stored.error().message);
}

}  // namespace

WeightStore& WeightStore::Process() {
  static WeightStore* const store = new WeightStore();  // outlives every static plan
  return *store;
}

std::shared_ptr<const PackedWeight> WeightStore::Find(const Key& key, const MatrixSource& source) {
  std::vector<std::shared_ptr<const PackedWeight>> candidates;
  {
    const std::lock_guard lock(mutex_);
    const auto [begin, end] = weights_.equal_range(key);
    for (auto at = begin; at != end; ++at) {
      if (auto weight = at->second.lock()) candidates.push_back(std::move(weight));
    }
  }
  for (const auto& candidate : candidates) {
    if (Equal(candidate->matrix(), source)) return candidate;
  }
  return nullptr;
}

base::Result<std::shared_ptr<float>> WeightStore::Reserve(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Slab> slab = slab_.lock();
  std::byte* memory = slab == nullptr ? nullptr : slab->arena.Take(bytes);
  if (memory == nullptr) {
    slab = std::make_shared<Slab>();
    slab->arena = TRY(tensor::Arena::Create(std::max(bytes, kSlabBytes)));
    memory = slab->arena.Take(bytes);
    CHECK(memory != nullptr);
    slab_ = slab;
  }
  return std::shared_ptr<float>(slab, reinterpret_cast<float*>(memory));
}

void WeightStore::UseCache(std::shared_ptr<WeightCache> cache) {
  const std::lock_guard lock(mutex_);
  cache_ = std::move(cache);
}

base::Result<std::shared_ptr<const PackedWeight>> WeightStore::Pack(const MatrixSource& source) {
  TRY(Validate(source));
  std::shared_ptr<WeightCache> cache;
  {
    const std::lock_guard lock(mutex_);
    cache = cache_;
  }
  const Target target = ActiveTarget();
  if (cache != nullptr && WeightCache::Takes(source)) return PackCached(*cache, source, target);
  return PackNow(Made(source), target);
}

// `map` makes a weight of what the cache holds, `pack` packs one and leaves it in the cache,
// `adopt` enters a mapped one among those known by content.
template <class Weight, class Map, class Make, class Adopt>
base::Result<std::shared_ptr<const Weight>> WeightStore::Named(NamedWeights<Weight>& named,
                                                               const WeightCache::Name& name,
                                                               Map map, Make make, Adopt adopt) {
  const auto living = [&]() -> std::shared_ptr<const Weight> {
    const auto at = named.find(name);
    return at == named.end() ? nullptr : at->second.lock();
  };
  {
    const std::lock_guard lock(mutex_);
    if (auto found = living()) return found;
  }
  base::Result<std::shared_ptr<const Weight>> mapped = map();
  if (!mapped.ok()) {
    std::shared_ptr<const Weight> made = TRY(make());
    const std::lock_guard lock(mutex_);
    named[name] = made;
    return made;
  }
  const std::lock_guard lock(mutex_);
  if (auto found = living()) return found;  // another thread was first
  std::erase_if(named, [](const auto& entry) { return entry.second.expired(); });
  adopt(*mapped);
  named[name] = *mapped;
  return mapped;
}

base::Result<std::shared_ptr<const PackedWeight>> WeightStore::PackCached(
    WeightCache& cache, const MatrixSource& source, Target target) {
  using Weight = std::shared_ptr<const PackedWeight>;
  const WeightCache::Name name = cache.NameOf(source, target);
  const auto map = [&]() -> base::Result<Weight> {
    WeightCache::Mapped found = TRY(cache.Load(name, source, target));
    return std::make_shared<const PackedWeight>(found.matrix, found.bytes, std::move(found.memory));
  };
  const auto make = [&]() -> base::Result<Weight> {
    Weight made = TRY(PackNow(Made(source), target));
    if (source.data == nullptr) TRY(CheckName(name, cache.NameOf(source, target)));
    TellIfNotStored(cache.Store(name, made->matrix(), made->bytes()));
    return made;
  };
  const auto adopt = [&](const Weight& weight) {
    std::erase_if(weights_, [](const auto& entry) { return entry.second.expired(); });
    weights_.emplace(Key{name[0], source.k, source.n, target}, weight);
  };
  return Named(named_, name, map, make, adopt);
}

base::Result<std::shared_ptr<const PackedWeight>> WeightStore::PackNow(const MatrixSource& source,
                                                                       Target target) {
  const Key key = {Hash(source), source.k, source.n, target};
  if (auto found = Find(key, source)) return found;
  const int64_t bytes = PackedMatrixBytes(source.k, source.n, key.target);
  const std::shared_ptr<float> memory = TRY(Reserve(bytes));
  const PackedMatrix matrix = PackMatrix(source, key.target, memory.get());
  auto weight = std::make_shared<const PackedWeight>(matrix, bytes, memory);
  const std::lock_guard lock(mutex_);
  std::erase_if(weights_, [](const auto& entry) { return entry.second.expired(); });
  // Another thread may have been first. Comparing under the lock is rare and leaves no gap.
  const auto [begin, end] = weights_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    auto other = at->second.lock();
    if (other != nullptr && Equal(other->matrix(), source)) return other;
  }
  weights_.emplace(key, weight);
  return std::shared_ptr<const PackedWeight>(std::move(weight));
}

tensor::Buffer WeightStore::Hold(const tensor::Buffer& buffer) {
  if (!buffer.deferred()) return buffer;
  std::shared_ptr<WeightCache> cache;
  {
    const std::lock_guard lock(mutex_);
    cache = cache_;
  }
  if (cache == nullptr) return buffer.Made();
  const WeightCache::Name name = cache->NameOf(buffer);
  base::Result<tensor::Buffer> mapped = cache->Load(name, buffer.bytes());
  if (mapped.ok()) return *std::move(mapped);
  tensor::Buffer made = buffer.Made();
  // Only what it was named for: a file may have been written over since.
  if (cache->NameOf(buffer) == name) TellIfNotStored(cache->Store(name, made));
  return made;
}

int64_t WeightStore::resident_bytes() const {
  const std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [key, weak] : weights_) {
    if (const auto weight = weak.lock()) bytes += weight->bytes();
  }
  for (const auto& [hash, weak] : low_weights_) {
    if (const auto weight = weak.lock()) bytes += weight->bytes();
  }
  return bytes;
}

int64_t WeightStore::resident_count() const {
  const std::lock_guard lock(mutex_);
  const auto alive = [](const auto& entry) { return !entry.second.expired(); };
  return std::count_if(weights_.begin(), weights_.end(), alive) +
         std::count_if(low_weights_.begin(), low_weights_.end(), alive);
}

namespace {

uint64_t HashBytes(const std::byte* data, int64_t bytes) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  uint64_t lanes[4] = {1, 2, 3, 4};
  int64_t at = 0;
  for (; at + 32 <= bytes; at += 32) {
    for (int i = 0; i < 4; ++i) {
      uint64_t word;
      std::memcpy(&word, data + at + 8 * i, 8);
      lanes[i] = (lanes[i] ^ word) * kOdd;
      lanes[i] ^= lanes[i] >> 29;
    }
  }
  uint64_t hash = static_cast<uint64_t>(bytes);
  for (; at < bytes; ++at) hash = (hash ^ static_cast<uint64_t>(data[at])) * kOdd;
  for (const uint64_t lane : lanes) hash = std::rotl((hash ^ lane) * kOdd, 31);
  return hash;
}

}  // namespace

std::shared_ptr<const LowWeight> WeightStore::FindLow(uint64_t hash,
                                                      const LowMatrix& matrix) const {
  const int64_t bytes = PackedLowBytes(matrix);
  const auto [begin, end] = low_weights_.equal_range(hash);
  for (auto at = begin; at != end; ++at) {
    std::shared_ptr<const LowWeight> weight = at->second.lock();
    if (weight == nullptr) continue;
    const LowMatrix& other = weight->matrix();
    if (other.k == matrix.k && other.n == matrix.n && other.form == matrix.form &&
        other.path == matrix.path && other.target == matrix.target && weight->bytes() == bytes &&
        std::memcmp(other.data, matrix.data, static_cast<size_t>(bytes)) == 0) {
      return weight;
    }
  }
  return nullptr;
}

base::Result<std::shared_ptr<const LowWeight>> WeightStore::PackLow(const MatrixSource& source,
                                                                    WeightForm form) {
  TRY(Validate(source));
  std::shared_ptr<WeightCache> cache;
  {
    const std::lock_guard lock(mutex_);
    cache = cache_;
  }
  if (cache != nullptr && WeightCache::Takes(source)) return PackLowCached(*cache, source, form);
  return PackLowNow(Made(source), form);
}

base::Result<std::shared_ptr<const LowWeight>> WeightStore::PackLowCached(
    WeightCache& cache, const MatrixSource& source, WeightForm form) {
  using Weight = std::shared_ptr<const LowWeight>;
  const WeightCache::Name name = cache.NameOf(source, form);
  uint64_t hash = 0;
  const auto map = [&]() -> base::Result<Weight> {
    WeightCache::MappedLow found = TRY(cache.Load(name, source, form));
    hash = HashBytes(found.matrix.data, found.bytes);
    return std::make_shared<const LowWeight>(found.matrix, found.bytes, std::move(found.memory));
  };
  const auto make = [&]() -> base::Result<Weight> {
    Weight made = TRY(PackLowNow(Made(source), form));
    if (source.data == nullptr) TRY(CheckName(name, cache.NameOf(source, form)));
    TellIfNotStored(cache.Store(name, made->matrix()));
    return made;
  };
  const auto adopt = [&](const Weight& weight) {
    std::erase_if(low_weights_, [](const auto& entry) { return entry.second.expired(); });
    low_weights_.emplace(hash, weight);
  };
  return Named(named_low_, name, map, make, adopt);
}

base::Result<std::shared_ptr<const LowWeight>> WeightStore::PackLowNow(const MatrixSource& source,
                                                                       WeightForm form) {
  tensor::Arena room = TRY(tensor::Arena::Create(LowMatrixBytes(source, form)));
  const LowMatrix packed = TRY(kernels::PackLow(source, form, room.data()));
  const int64_t bytes = PackedLowBytes(packed);
  const uint64_t hash = HashBytes(packed.data, bytes);
  {
    const std::lock_guard lock(mutex_);
    if (auto found = FindLow(hash, packed)) return found;
  }
  const std::shared_ptr<float> memory = TRY(Reserve(bytes));
  auto* const data = reinterpret_cast<std::byte*>(memory.get());
  std::memcpy(data, packed.data, static_cast<size_t>(bytes));
  auto weight = std::make_shared<const LowWeight>(MovedLow(packed, data), bytes, memory);
  const std::lock_guard lock(mutex_);
  if (auto found = FindLow(hash, packed)) return found;  // another thread was first
  std::erase_if(low_weights_, [](const auto& entry) { return entry.second.expired(); });
  low_weights_.emplace(hash, weight);
  return std::shared_ptr<const LowWeight>(std::move(weight));
}

}  // namespace sluice::kernels

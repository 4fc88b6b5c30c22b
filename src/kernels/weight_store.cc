#include "kernels/weight_store.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "base/log.h"
#include "kernels/low_packing.h"
#include "kernels/pack_pool.h"
#include "tensor/tensor.h"

namespace sluice::kernels {
namespace {

// Of addresses: what no weight takes of it costs no memory.
constexpr int64_t kSlabBytes = int64_t{32} << 20;
constexpr int64_t kHashPiece = int64_t{1} << 20;
constexpr double kHashNsPerByte = 0.1;

// Four interleaved multiplicative chains, so that the multiplier's latency does not set the pace.
// Only a finder: equality is checked byte by byte.
uint64_t HashPiece(const std::byte* data, int64_t bytes) {
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

// By all cores.
uint64_t HashBytes(const void* data, int64_t bytes) {
  const auto* const from = static_cast<const std::byte*>(data);
  std::vector<uint64_t> pieces(static_cast<size_t>((bytes + kHashPiece - 1) / kHashPiece));
  const auto hash = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pieces[static_cast<size_t>(i)] =
          HashPiece(from + i * kHashPiece, std::min(kHashPiece, bytes - i * kHashPiece));
    }
  };
  PackPool().ParallelFor(static_cast<int64_t>(pieces.size()), kHashPiece * kHashNsPerByte, hash);
  return HashPiece(reinterpret_cast<const std::byte*>(pieces.data()),
                   static_cast<int64_t>(pieces.size() * sizeof(uint64_t)));
}

const void* DataOf(const PackedMatrix& matrix) {
  return matrix.data;
}
const void* DataOf(const LowMatrix& matrix) {
  return matrix.data;
}

bool SameLayout(const PackedMatrix& a, const PackedMatrix& b) {
  return a.k == b.k && a.n == b.n && a.target == b.target;
}
bool SameLayout(const LowMatrix& a, const LowMatrix& b) {
  return a.k == b.k && a.n == b.n && a.form == b.form && a.path == b.path && a.target == b.target;
}

// A living weight with the same bytes. Under the store's lock.
template <class Weight, class Matrix>
std::shared_ptr<const Weight> FindEqual(
    const std::multimap<uint64_t, std::weak_ptr<const Weight>>& known, uint64_t hash,
    const Matrix& matrix, int64_t bytes) {
  const auto [begin, end] = known.equal_range(hash);
  for (auto at = begin; at != end; ++at) {
    std::shared_ptr<const Weight> weight = at->second.lock();
    if (weight != nullptr && SameLayout(weight->matrix(), matrix) && weight->bytes() == bytes &&
        std::memcmp(DataOf(weight->matrix()), DataOf(matrix), static_cast<size_t>(bytes)) == 0) {
      return weight;
    }
  }
  return nullptr;
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

base::Status ValidateAll(MatrixParts parts) {
  CHECK(!parts.empty());
  for (const MatrixSource& part : parts) {
    TRY(Validate(part));
    CHECK(part.k == parts[0].k && part.dtype == parts[0].dtype);
  }
  return base::Ok();
}

// With their bytes made.
std::vector<MatrixSource> Made(MatrixParts parts) {
  std::vector<MatrixSource> made(parts.begin(), parts.end());
  for (MatrixSource& part : made) {
    if (part.data == nullptr) part.data = part.buffer->data();
  }
  return made;
}

bool AnyDeferred(MatrixParts parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [](const MatrixSource& part) { return part.data == nullptr; });
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

base::Result<WeightStore::Room> WeightStore::Reserve(int64_t bytes) {
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
  return Room{std::move(slab), memory, bytes};
}

template <class Weight, class Matrix>
std::shared_ptr<const Weight> WeightStore::Keep(KnownWeights<Weight>& known, const Matrix& matrix,
                                                int64_t bytes, Room room) {
  const uint64_t hash = HashBytes(DataOf(matrix), bytes);
  const std::lock_guard lock(mutex_);
  if (auto found = FindEqual(known, hash, matrix, bytes)) {
    room.slab->arena.Shrink(room.data, room.bytes, 0);
    return found;
  }
  room.slab->arena.Shrink(room.data, room.bytes, bytes);
  auto weight = std::make_shared<const Weight>(matrix, bytes, std::move(room.slab));
  std::erase_if(known, [](const auto& entry) { return entry.second.expired(); });
  known.emplace(hash, weight);
  return weight;
}

void WeightStore::UseCache(std::shared_ptr<WeightCache> cache) {
  const std::lock_guard lock(mutex_);
  cache_ = std::move(cache);
}

base::Result<std::shared_ptr<const PackedWeight>> WeightStore::Pack(MatrixParts parts) {
  TRY(ValidateAll(parts));
  std::shared_ptr<WeightCache> cache;
  {
    const std::lock_guard lock(mutex_);
    cache = cache_;
  }
  const Target target = ActiveTarget();
  if (cache != nullptr && WeightCache::Takes(parts)) return PackCached(*cache, parts, target);
  return PackNow(Made(parts), target);
}

// `map` makes a weight of what the cache holds, `make` packs one and leaves it in the cache.
template <class Weight, class Map, class Make>
base::Result<std::shared_ptr<const Weight>> WeightStore::Named(NamedWeights<Weight>& named,
                                                               KnownWeights<Weight>& known,
                                                               const WeightCache::Name& name,
                                                               Map map, Make make) {
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
  const Weight& weight = **mapped;
  const uint64_t hash = HashBytes(DataOf(weight.matrix()), weight.bytes());
  const std::lock_guard lock(mutex_);
  if (auto found = living()) return found;  // another thread was first
  std::erase_if(named, [](const auto& entry) { return entry.second.expired(); });
  std::erase_if(known, [](const auto& entry) { return entry.second.expired(); });
  known.emplace(hash, *mapped);
  named[name] = *mapped;
  return mapped;
}

base::Result<std::shared_ptr<const PackedWeight>> WeightStore::PackCached(WeightCache& cache,
                                                                          MatrixParts parts,
                                                                          Target target) {
  using Weight = std::shared_ptr<const PackedWeight>;
  const WeightCache::Name name = cache.NameOf(parts, target);
  const auto map = [&]() -> base::Result<Weight> {
    WeightCache::Mapped found = TRY(cache.Load(name, parts[0].k, ColumnsOf(parts), target));
    return std::make_shared<const PackedWeight>(found.matrix, found.bytes, std::move(found.memory));
  };
  const auto make = [&]() -> base::Result<Weight> {
    Weight made = TRY(PackNow(Made(parts), target));
    if (AnyDeferred(parts)) TRY(CheckName(name, cache.NameOf(parts, target)));
    TellIfNotStored(cache.Store(name, made->matrix(), made->bytes()));
    return made;
  };
  return Named(named_, weights_, name, map, make);
}

base::Result<std::shared_ptr<const PackedWeight>> WeightStore::PackNow(MatrixParts parts,
                                                                       Target target) {
  const int64_t bytes = PackedMatrixBytes(parts[0].k, ColumnsOf(parts), target);
  Room room = TRY(Reserve(bytes));
  const PackedMatrix matrix = PackMatrix(parts, target, reinterpret_cast<float*>(room.data));
  return Keep(weights_, matrix, bytes, std::move(room));
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

base::Result<std::shared_ptr<const LowWeight>> WeightStore::PackLow(MatrixParts parts,
                                                                    WeightForm form) {
  TRY(ValidateAll(parts));
  std::shared_ptr<WeightCache> cache;
  {
    const std::lock_guard lock(mutex_);
    cache = cache_;
  }
  if (cache != nullptr && WeightCache::Takes(parts)) return PackLowCached(*cache, parts, form);
  return PackLowNow(Made(parts), form);
}

base::Result<std::shared_ptr<const LowWeight>> WeightStore::PackLowCached(WeightCache& cache,
                                                                          MatrixParts parts,
                                                                          WeightForm form) {
  using Weight = std::shared_ptr<const LowWeight>;
  const WeightCache::Name name = cache.NameOf(parts, form);
  const auto map = [&]() -> base::Result<Weight> {
    WeightCache::MappedLow found = TRY(cache.Load(name, parts[0].k, ColumnsOf(parts), form));
    return std::make_shared<const LowWeight>(found.matrix, found.bytes, std::move(found.memory));
  };
  const auto make = [&]() -> base::Result<Weight> {
    Weight made = TRY(PackLowNow(Made(parts), form));
    if (AnyDeferred(parts)) TRY(CheckName(name, cache.NameOf(parts, form)));
    TellIfNotStored(cache.Store(name, made->matrix()));
    return made;
  };
  return Named(named_low_, low_weights_, name, map, make);
}

base::Result<std::shared_ptr<const LowWeight>> WeightStore::PackLowNow(MatrixParts parts,
                                                                       WeightForm form) {
  Room room = TRY(Reserve(LowMatrixBytes(parts[0].k, ColumnsOf(parts), form)));
  base::Result<LowMatrix> packed = kernels::PackLow(parts, form, room.data);
  if (!packed.ok()) {
    const std::lock_guard lock(mutex_);
    room.slab->arena.Shrink(room.data, room.bytes, 0);
    return std::move(packed).error();
  }
  return Keep(low_weights_, *packed, PackedLowBytes(*packed), std::move(room));
}

}  // namespace sluice::kernels

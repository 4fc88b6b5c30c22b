#include "graph/constant_store.h"

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "kernels/weight_store.h"

namespace sluice::graph {
namespace {

using tensor::Tensor;
using TensorPtr = std::shared_ptr<const Tensor>;

// The tensor's bytes where they lie, aligned or not: made only if they are made of others.
std::span<const std::byte> BytesOf(const Tensor& tensor) {
  tensor::DeferredBytes::Origin origin;
  tensor.buffer.Describe(origin);
  if (origin.recipe.empty()) return origin.pieces[0];
  return {tensor.buffer.data(), static_cast<size_t>(tensor.bytes())};
}

// Only a finder, so some thousand pieces of a large tensor do.
uint64_t Hash(const Tensor& tensor) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  constexpr int64_t kPieces = 4096;
  constexpr auto kPiece = static_cast<int64_t>(sizeof(uint64_t));
  const std::span<const std::byte> bytes = BytesOf(tensor);
  const int64_t pieces = tensor.bytes() / kPiece;
  const int64_t stride = pieces / kPieces + 1;
  uint64_t hash = static_cast<uint64_t>(pieces) ^ static_cast<uint64_t>(tensor.dtype);
  for (int64_t i = 0; i < pieces; i += stride) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i * kPiece, sizeof word);
    hash = (hash ^ word) * kOdd;
    hash ^= hash >> 29;
  }
  return hash;
}

bool Equal(const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) return false;
  const std::span<const std::byte> bytes = BytesOf(a), others = BytesOf(b);
  return bytes.data() == others.data() ||
         std::memcmp(bytes.data(), others.data(), bytes.size()) == 0;
}

// The tensor itself, or one that does not keep what its bytes were made of.
TensorPtr Held(const TensorPtr& tensor) {
  if (!tensor->buffer.deferred()) return tensor;
  const tensor::Buffer held = tensor->bytes() < ConstantStore::kBytesMin
                                  ? tensor->buffer.Made()
                                  : kernels::WeightStore::Process().Hold(tensor->buffer);
  return std::make_shared<const Tensor>(Tensor{tensor->dtype, tensor->shape, held});
}

}  // namespace

ConstantStore& ConstantStore::Process() {
  static ConstantStore* const store = new ConstantStore();  // outlives every static model
  return *store;
}

TensorPtr ConstantStore::Share(TensorPtr tensor) {
  if (tensor->dtype == tensor::DType::kBytes || tensor->bytes() < kBytesMin) return Held(tensor);
  const uint64_t hash = Hash(*tensor);
  std::vector<TensorPtr> candidates;
  {
    const std::lock_guard lock(mutex_);
    const auto [begin, end] = constants_.equal_range(hash);
    for (auto at = begin; at != end; ++at) {
      if (TensorPtr alive = at->second.lock()) candidates.push_back(std::move(alive));
    }
  }
  for (TensorPtr& candidate : candidates) {
    if (candidate == tensor || Equal(*candidate, *tensor)) return candidate;
  }
  tensor = Held(tensor);
  // Two threads that bring equal ones at the same moment keep both: rare, and no error.
  const std::lock_guard lock(mutex_);
  std::erase_if(constants_, [](const auto& entry) { return entry.second.expired(); });
  constants_.emplace(hash, tensor);
  return tensor;
}

int64_t ConstantStore::resident_bytes() const {
  const std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [hash, weak] : constants_) {
    if (const TensorPtr alive = weak.lock()) bytes += alive->bytes();
  }
  return bytes;
}

}  // namespace sluice::graph

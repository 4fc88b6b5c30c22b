#include "graph/constant_store.h"

#include <cstring>
#include <utility>
#include <vector>

namespace sluice::graph {
namespace {

using tensor::Tensor;
using TensorPtr = std::shared_ptr<const Tensor>;

// Only a finder, so some thousand pieces of a large tensor do.
uint64_t Hash(const Tensor& tensor) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  constexpr int64_t kPieces = 4096;
  constexpr auto kPiece = static_cast<int64_t>(sizeof(uint64_t));
  const int64_t pieces = tensor.view().bytes() / kPiece;
  const int64_t stride = pieces / kPieces + 1;
  uint64_t hash = static_cast<uint64_t>(pieces) ^ static_cast<uint64_t>(tensor.dtype);
  for (int64_t i = 0; i < pieces; i += stride) {
    uint64_t word = 0;
    std::memcpy(&word, tensor.buffer.data() + i * kPiece, sizeof word);
    hash = (hash ^ word) * kOdd;
    hash ^= hash >> 29;
  }
  return hash;
}

bool Equal(const Tensor& a, const Tensor& b) {
  return a.dtype == b.dtype && a.shape == b.shape &&
         std::memcmp(a.buffer.data(), b.buffer.data(), static_cast<size_t>(a.view().bytes())) == 0;
}

}  // namespace

ConstantStore& ConstantStore::Process() {
  static ConstantStore* const store = new ConstantStore();  // outlives every static model
  return *store;
}

TensorPtr ConstantStore::Share(TensorPtr tensor) {
  if (tensor->dtype == tensor::DType::kBytes || tensor->view().bytes() < kBytesMin) return tensor;
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
    if (const TensorPtr alive = weak.lock()) bytes += alive->view().bytes();
  }
  return bytes;
}

}  // namespace sluice::graph

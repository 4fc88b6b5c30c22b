// Large constants that are read as they are (embedding tables): equal ones of all models of the
// process are held once. Weights of linear layers are packed instead: kernels/weight_store.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "tensor/tensor.h"

namespace sluice::graph {

// Thread-safe. Holds weak references only. The process has one, Process(); tests make their own.
class ConstantStore {
 public:
  static constexpr int64_t kBytesMin = 64 << 10;  // smaller ones are not worth the look

  static ConstantStore& Process();

  // An equal tensor that is alive already, else `tensor` itself, its bytes made. A hash finds
  // candidates and a comparison of every byte decides.
  std::shared_ptr<const tensor::Tensor> Share(std::shared_ptr<const tensor::Tensor> tensor);

  // Bytes of the shared constants alive now.
  int64_t resident_bytes() const;

 private:
  mutable std::mutex mutex_;
  std::multimap<uint64_t, std::weak_ptr<const tensor::Tensor>> constants_;  // by hash
};

}  // namespace sluice::graph

// Pieces of a step's memory, handed out one behind the other.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/align.h"

namespace sluice::lm {

// Without memory it only counts: what a step needs and where it takes it from are one piece of
// code. Every piece is aligned to tensor::kAlignment.
class MemoryDivider {
 public:
  explicit MemoryDivider(std::byte* memory) : memory_(memory) {}

  float* Floats(int64_t count) {
    return reinterpret_cast<float*>(Bytes(count * static_cast<int64_t>(sizeof(float))));
  }
  std::byte* Bytes(int64_t bytes) {
    std::byte* const at = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += tensor::AlignUp(bytes);
    return at;
  }
  int64_t used() const { return used_; }
  // Goes back to what was used then, for pieces that are not needed at the same time.
  void Rewind(int64_t used) { used_ = used; }

 private:
  std::byte* memory_;
  int64_t used_ = 0;
};

}  // namespace sluice::lm

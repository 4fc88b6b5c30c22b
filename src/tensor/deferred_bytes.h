// Bytes that are made at the first look at them: large weights of a model file, at which nobody
// looks where a cache knows what they are packed to.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace sluice::tensor {

// Immutable for those who read; any thread may be the first.
class DeferredBytes {
 public:
  // What determines the bytes: the raw pieces that they are made of, in order, which may lie
  // unaligned, and how they are put together. An empty recipe: the only piece is the bytes.
  struct Origin {
    std::vector<std::span<const std::byte>> pieces;
    std::string recipe;
  };

  explicit DeferredBytes(int64_t bytes) : bytes_(bytes) {}
  virtual ~DeferredBytes() = default;
  DeferredBytes(const DeferredBytes&) = delete;
  DeferredBytes& operator=(const DeferredBytes&) = delete;

  int64_t bytes() const { return bytes_; }
  // Aligned to kAlignment (tensor.h), in pages of 2 MiB where they are many.
  const std::byte* data() const {
    const std::byte* const made = data_.load(std::memory_order_acquire);
    return made != nullptr ? made : Make();
  }
  bool made() const { return data_.load(std::memory_order_acquire) != nullptr; }
  // The memory of what was made, which outlives this.
  std::shared_ptr<const void> memory() const { return memory_; }

  // Appends to `origin` and makes nothing. Raw bytes that were copied are told as they were then:
  // a file that has changed meanwhile does not answer for what was made of it.
  virtual void Describe(Origin& origin) const = 0;

 private:
  virtual void Write(std::byte* to) const = 0;
  const std::byte* Make() const;

  const int64_t bytes_;
  mutable std::once_flag once_;
  mutable std::shared_ptr<const void> memory_;
  mutable std::atomic<const std::byte*> data_{nullptr};
};

}  // namespace sluice::tensor

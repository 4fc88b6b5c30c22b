// A bump allocator over one block of 2 MiB pages: the memory of a loop's slot. Reserved once, reset
// between steps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace sluice::tensor {

// One owner at a time (the lease holder); not thread-safe. Handing out memory never calls the
// system.
class Arena {
 public:
  // Maps `bytes` rounded up to 2 MiB, asking for huge pages. kResourceExhausted when the system
  // refuses.
  static base::Result<Arena> Create(int64_t bytes);
  Arena() = default;
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  ~Arena();

  // `bytes` aligned to kAlignment (tensor.h), or nullptr when the arena is full: the caller planned
  // wrong or refuses.
  std::byte* Take(int64_t bytes);
  // Gives back what lies behind the first `kept` of a taken block's `bytes`; nothing where more has
  // been taken since.
  void Shrink(const std::byte* block, int64_t bytes, int64_t kept);
  void Reset() { used_ = 0; }
  // Gives the pages from `kept` bytes on back to the system; what they held is lost.
  void Forget(int64_t kept);

  std::byte* data() { return base_; }
  int64_t capacity() const { return capacity_; }
  int64_t used() const { return used_; }

 private:
  std::byte* base_ = nullptr;
  int64_t capacity_ = 0;
  int64_t used_ = 0;
};

}  // namespace sluice::tensor

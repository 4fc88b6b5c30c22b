#include "heap/heap_allocations.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

namespace {

thread_local int64_t allocations = 0;
thread_local std::size_t largest = 0;

void* Allocate(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  largest = std::max(largest, bytes);
  void* const memory = alignment <= alignof(std::max_align_t)
                           ? std::malloc(bytes == 0 ? 1 : bytes)
                           : std::aligned_alloc(alignment, (bytes / alignment + 1) * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

// The array forms call these. Not inlined: the compiler would pair malloc with operator delete.
__attribute__((noinline)) void* operator new(std::size_t bytes) {
  return Allocate(bytes, 1);
}
__attribute__((noinline)) void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, 1);
}
__attribute__((noinline)) void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return Allocate(bytes, static_cast<std::size_t>(alignment));
}
__attribute__((noinline)) void operator delete(void* memory) noexcept {
  std::free(memory);
}
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
__attribute__((noinline)) void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
__attribute__((noinline)) void operator delete(void* memory, std::size_t,
                                               std::align_val_t) noexcept {
  std::free(memory);
}

namespace sluice::heap {

int64_t Allocations() {
  return allocations;
}

int64_t TakeLargest() {
  return static_cast<int64_t>(std::exchange(largest, 0));
}

}  // namespace sluice::heap

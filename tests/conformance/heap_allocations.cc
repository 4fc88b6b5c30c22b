#include "conformance/heap_allocations.h"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

thread_local int64_t allocations = 0;

void* Allocate(std::size_t bytes, std::size_t alignment) {
  ++allocations;
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

namespace sluice::conformance {

int64_t HeapAllocations() {
  return allocations;
}

}  // namespace sluice::conformance

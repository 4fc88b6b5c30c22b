#include "tensor/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "tensor/align.h"

namespace sluice::tensor {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;
// More than any machine's address space holds; keeps the rounding below from overflowing.
constexpr int64_t kArenaBytesMax = int64_t{1} << 56;

int64_t WholeHugePages(int64_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

}  // namespace

base::Result<Arena> Arena::Create(int64_t bytes) {
  CHECK_GE(bytes, 0);
  if (bytes > kArenaBytesMax) {
    return base::ResourceExhausted("an arena of " + std::to_string(bytes) +
                                   " bytes is above the limit of " +
                                   std::to_string(kArenaBytesMax));
  }
  const int64_t capacity = WholeHugePages(bytes);
  Arena arena;
  if (capacity == 0) return arena;
  // Map one page more and trim, so that the block starts on a huge-page boundary.
  const auto mapped = static_cast<size_t>(capacity + kHugePage);
  void* raw = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) {
    return base::ResourceExhausted("cannot map an arena of " + std::to_string(capacity) +
                                   " bytes: " + std::strerror(errno));
  }
  const auto address = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t page = kHugePage;
  const uintptr_t aligned = (address + page - 1) / page * page;
  if (aligned > address) munmap(raw, aligned - address);
  const size_t tail = address + mapped - (aligned + static_cast<size_t>(capacity));
  if (tail > 0) munmap(reinterpret_cast<void*>(aligned + static_cast<size_t>(capacity)), tail);
  arena.base_ = reinterpret_cast<std::byte*>(aligned);
  arena.capacity_ = capacity;
  madvise(arena.base_, static_cast<size_t>(capacity),
          MADV_HUGEPAGE);  // advice: a refusal is no error
  return arena;
}

Arena::Arena(Arena&& other) noexcept {
  *this = std::move(other);
}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(capacity_, other.capacity_);
  std::swap(used_, other.used_);
  return *this;
}

Arena::~Arena() {
  if (base_ != nullptr) munmap(base_, static_cast<size_t>(capacity_));
}

std::byte* Arena::Take(int64_t bytes) {
  CHECK_GE(bytes, 0);
  if (bytes > capacity_ - used_) return nullptr;
  std::byte* taken = base_ + used_;
  used_ = std::min(capacity_, used_ + AlignUp(bytes));
  return taken;
}

void Arena::Forget(int64_t kept) {
  const int64_t from = WholeHugePages(kept);
  if (from >= capacity_) return;
  madvise(base_ + from, static_cast<size_t>(capacity_ - from), MADV_DONTNEED);
}

void Arena::Shrink(const std::byte* block, int64_t bytes, int64_t kept) {
  CHECK(kept >= 0 && kept <= bytes && block >= base_ && block <= base_ + used_);
  const int64_t at = block - base_;
  if (std::min(capacity_, at + AlignUp(bytes)) == used_) {
    used_ = std::min(capacity_, at + AlignUp(kept));
  }
}

}  // namespace sluice::tensor

#include "tensor/buffer_pool.h"

#include <bit>
#include <new>
#include <utility>

#include "base/check.h"
#include "tensor/tensor.h"

namespace sluice::tensor {
namespace {

constexpr int kFirstShift = 8;  // the smallest class: 256 bytes

}  // namespace

// One allocation: this head, then the data. The shared_ptr's own record lives in the head, so that
// handing a block out allocates nothing; the block is free again when that record is.
struct BufferPool::Block {
  Block* next = nullptr;
  std::shared_ptr<BufferPool> pool;  // while it is out
  int size_class = 0;
  alignas(std::max_align_t) std::byte record[96];

  static constexpr size_t kHead = 192;
  std::byte* data() { return reinterpret_cast<std::byte*>(this) + kHead; }
};

template <class T>
struct BufferPool::InBlock {
  using value_type = T;
  explicit InBlock(Block* of) : block(of) {}
  template <class U>
  InBlock(const InBlock<U>& other) : block(other.block) {}

  T* allocate(size_t count) {
    static_assert(sizeof(T) <= sizeof(Block::record) && alignof(T) <= alignof(std::max_align_t));
    CHECK_EQ(count, size_t{1});
    return reinterpret_cast<T*>(block->record);
  }
  void deallocate(T*, size_t) {
    // The pool may go with its last block.
    const std::shared_ptr<BufferPool> pool = std::move(block->pool);
    pool->GiveBack(block);
  }
  template <class U>
  bool operator==(const InBlock<U>& other) const {
    return block == other.block;
  }

  Block* block;
};

std::shared_ptr<BufferPool> BufferPool::Create(Options options) {
  return std::shared_ptr<BufferPool>(new BufferPool(std::move(options)));
}

BufferPool::BufferPool(Options options) : options_(std::move(options)) {
  static_assert(sizeof(Block) <= Block::kHead && Block::kHead % kAlignment == 0);
}

BufferPool::~BufferPool() {
  SortReturned();
  for (Block*& first : idle_) {
    while (first != nullptr) FreeBlock(std::exchange(first, first->next));
  }
  CHECK_EQ(bytes(), int64_t{0}) << "a block outlives its pool";
}

int BufferPool::ClassOf(int64_t bytes) {
  if (bytes <= int64_t{1} << kFirstShift) return 0;
  const int octave = 63 - std::countl_zero(static_cast<uint64_t>(bytes - 1));  // 2^octave < bytes
  const int64_t quarter = int64_t{1} << (octave - 2);
  const int64_t over = bytes - (int64_t{1} << octave);
  return (octave - kFirstShift) * 4 + static_cast<int>((over + quarter - 1) / quarter);
}

int64_t BufferPool::BytesOf(int size_class) {
  const int64_t octave = int64_t{1} << (size_class / 4 + kFirstShift);
  return octave + octave / 4 * (size_class % 4);
}

base::Result<std::shared_ptr<std::byte>> BufferPool::Take(int64_t bytes) {
  CHECK_GE(bytes, 0);
  const int size_class = ClassOf(bytes);
  if (size_class >= kClasses) {
    return base::ResourceExhausted(options_.owner + ": a buffer of " + std::to_string(bytes) +
                                   " bytes");
  }
  Block*& first = idle_[static_cast<size_t>(size_class)];
  if (first == nullptr) SortReturned();
  Block* block = first;
  if (block != nullptr) {
    first = block->next;
    idle_bytes_.fetch_sub(BytesOf(size_class), std::memory_order_relaxed);
  } else {
    block = TRY(NewBlock(size_class));
  }
  block->pool = shared_from_this();
  return std::shared_ptr<std::byte>(
      block->data(), [](const std::byte*) {}, InBlock<std::byte>(block));
}

base::Result<BufferPool::Block*> BufferPool::NewBlock(int size_class) {
  const int64_t bytes = BytesOf(size_class);
  {
    const std::lock_guard lock(mutex_);
    if (options_.ledger != nullptr) {
      const int64_t all = bytes_.load(std::memory_order_relaxed) + bytes;
      if (reservation_.bytes() == 0) {
        reservation_ = TRY(options_.ledger->Reserve(options_.owner, all));
      } else {
        TRY(reservation_.Resize(all));
      }
    }
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
  void* memory =
      ::operator new (Block::kHead + static_cast<size_t>(bytes), std::align_val_t{kAlignment});
  auto* block = new (memory) Block;
  block->size_class = size_class;
  return block;
}

void BufferPool::FreeBlock(Block* block) {
  const int64_t bytes = BytesOf(block->size_class);
  idle_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  block->~Block();
  ::operator delete (block, std::align_val_t{kAlignment});
  const std::lock_guard lock(mutex_);
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  if (reservation_.bytes() > 0) CHECK(reservation_.Resize(reservation_.bytes() - bytes).ok());
}

void BufferPool::GiveBack(Block* block) {
  const int64_t bytes = BytesOf(block->size_class);
  if (idle_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes > options_.idle_bytes_max) {
    return FreeBlock(block);
  }
  Block* head = returned_.load(std::memory_order_relaxed);
  do {
    block->next = head;
  } while (!returned_.compare_exchange_weak(head, block, std::memory_order_release,
                                            std::memory_order_relaxed));
}

void BufferPool::SortReturned() {
  Block* block = returned_.exchange(nullptr, std::memory_order_acquire);
  while (block != nullptr) {
    Block* const next = block->next;
    Block*& first = idle_[static_cast<size_t>(block->size_class)];
    block->next = first;
    first = block;
    block = next;
  }
}

}  // namespace sluice::tensor

// Blocks of memory that are used again: what steps write their answers to, so that a warm step asks
// the heap for nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "tensor/ledger.h"

namespace sluice::tensor {

// Take: one thread at a time (a loop's lease holder). A block comes back on whichever thread lets
// go of its last owner, and may outlive the pool's. Sizes are rounded up to four classes an octave.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  struct Options {
    int64_t idle_bytes_max = int64_t{32} << 20;  // kept for later; what exceeds it goes at once
    Ledger* ledger = nullptr;                    // where all blocks are reserved; null: nowhere
    std::string owner = "buffers";               // their name there
  };
  static std::shared_ptr<BufferPool> Create(Options options);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // `bytes` uninitialised bytes, aligned to kAlignment (tensor.h): the first of them.
  // kResourceExhausted when the ledger refuses a new block.
  base::Result<std::shared_ptr<std::byte>> Take(int64_t bytes);
  // Of all blocks, in use or idle. Any thread.
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  int64_t idle_bytes() const { return idle_bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kClasses = 160;
  struct Block;
  template <class T>
  struct InBlock;

  explicit BufferPool(Options options);
  static int ClassOf(int64_t bytes);
  static int64_t BytesOf(int size_class);
  base::Result<Block*> NewBlock(int size_class);
  void FreeBlock(Block* block);
  void GiveBack(Block* block);
  void SortReturned();

  const Options options_;
  std::array<Block*, kClasses> idle_{};    // by class; Take's
  std::atomic<Block*> returned_{nullptr};  // not sorted into classes yet
  std::atomic<int64_t> bytes_{0};
  std::atomic<int64_t> idle_bytes_{0};
  std::mutex mutex_;         // blocks come and go
  Reservation reservation_;  // guarded by mutex_
};

}  // namespace sluice::tensor

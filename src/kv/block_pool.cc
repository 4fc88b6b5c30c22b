#include "kv/block_pool.h"

#include "base/check.h"

namespace sluice::kv {

BlockPool::BlockPool(int32_t blocks)
    : owners_(static_cast<size_t>(blocks)), written_(static_cast<size_t>(blocks)) {
  CHECK(blocks > 0);
  free_.reserve(static_cast<size_t>(blocks));
  // The lowest numbers first, so that a lightly used cache touches little memory.
  for (BlockId block = blocks - 1; block >= 0; --block) free_.push_back(block);
}

BlockId BlockPool::Take() {
  if (free_.empty()) return kNoBlock;
  const BlockId block = free_.back();
  free_.pop_back();
  owners_[Index(block)] = 1;
  written_[Index(block)] = 0;
  return block;
}

void BlockPool::Share(BlockId block) {
  CHECK(owners_[Index(block)] > 0);
  ++owners_[Index(block)];
}

bool BlockPool::Drop(BlockId block) {
  CHECK(owners_[Index(block)] > 0);
  if (--owners_[Index(block)] > 0) return false;
  free_.push_back(block);
  return true;
}

void BlockPool::Claim(BlockId block, int32_t row) {
  CHECK(owners_[Index(block)] > 0);
  written_[Index(block)] = row;
}

}  // namespace sluice::kv

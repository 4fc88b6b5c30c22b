// Which blocks of key and value rows are taken, by how many owners, and how far each is written.
// The rows themselves are elsewhere: a block is a number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice::kv {

// A fixed number of token positions' keys and values in all layers; [0, blocks).
using BlockId = int32_t;
inline constexpr BlockId kNoBlock = -1;

// Owner: one engine, its loop's lease holder. Allocates nothing after construction.
class BlockPool {
 public:
  explicit BlockPool(int32_t blocks);

  // A block with one owner and nothing written; kNoBlock when none is free.
  BlockId Take();
  // One more owner.
  void Share(BlockId block);
  // One owner less; the block is free with the last. True: it is.
  bool Drop(BlockId block);

  // Whether a writer may put its next rows at `row` without disturbing another owner: it is the
  // only one, or nobody has written from there on. Rows before `row` are then never touched.
  bool MayAppend(BlockId block, int32_t row) const {
    return owners_[Index(block)] == 1 || written_[Index(block)] == row;
  }
  // Rows up to `row` belong to somebody from now on.
  void Claim(BlockId block, int32_t row);

  int32_t owners(BlockId block) const { return owners_[Index(block)]; }
  int32_t free_count() const { return static_cast<int32_t>(free_.size()); }
  int32_t size() const { return static_cast<int32_t>(owners_.size()); }

 private:
  static size_t Index(BlockId block) { return static_cast<size_t>(block); }

  std::vector<int32_t> owners_;   // [blocks]; 0: free
  std::vector<int32_t> written_;  // [blocks] rows that some owner has claimed
  std::vector<BlockId> free_;     // taken from the back
};

}  // namespace sluice::kv

#include "kv/block_pool.h"

#include <gtest/gtest.h>

namespace sluice::kv {
namespace {

TEST(BlockPool, GivesEachBlockOnceAndThenNone) {
  BlockPool pool(3);
  EXPECT_EQ(pool.Take(), 0);
  EXPECT_EQ(pool.Take(), 1);
  EXPECT_EQ(pool.Take(), 2);
  EXPECT_EQ(pool.Take(), kNoBlock);
  EXPECT_EQ(pool.free_count(), 0);
}

TEST(BlockPool, FreesABlockWithItsLastOwner) {
  BlockPool pool(1);
  const BlockId block = pool.Take();
  pool.Share(block);
  EXPECT_FALSE(pool.Drop(block));
  EXPECT_EQ(pool.Take(), kNoBlock);
  EXPECT_TRUE(pool.Drop(block));
  EXPECT_EQ(pool.Take(), block);
}

TEST(BlockPool, LetsOneOfTwoOwnersAppendBehindTheRowsTheyShare) {
  BlockPool pool(1);
  const BlockId block = pool.Take();
  pool.Claim(block, 5);
  pool.Share(block);
  EXPECT_TRUE(pool.MayAppend(block, 5));
  pool.Claim(block, 6);
  EXPECT_FALSE(pool.MayAppend(block, 5));
}

TEST(BlockPool, LetsTheOnlyOwnerWriteAnywhere) {
  BlockPool pool(1);
  const BlockId block = pool.Take();
  pool.Claim(block, 6);
  EXPECT_TRUE(pool.MayAppend(block, 2));
}

}  // namespace
}  // namespace sluice::kv

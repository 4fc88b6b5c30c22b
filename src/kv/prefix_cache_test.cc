#include "kv/prefix_cache.h"

#include <gtest/gtest.h>

#include <numeric>

namespace sluice::kv {
namespace {

using Tokens = std::vector<int32_t>;

Tokens Range(int32_t first, int32_t count) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

Tokens Join(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class PrefixCacheTest : public testing::Test {
 protected:
  // Attaches, makes the rest writable and publishes all: what a request does that runs alone.
  Sequence Run(const Tokens& tokens, EvictionClass eviction = 0) {
    Sequence sequence;
    cache_.Attach(domain_, tokens, eviction, sequence);
    EXPECT_TRUE(cache_.Extend(sequence, static_cast<int64_t>(tokens.size()), copies_));
    cache_.Publish(sequence, tokens, eviction);
    return sequence;
  }
  void RunAndRelease(const Tokens& tokens, EvictionClass eviction = 0) {
    Sequence sequence = Run(tokens, eviction);
    cache_.Release(sequence);
    cache_.CheckIntegrity({});
  }

  PrefixCache cache_{{.blocks = 8, .block_rows = 4, .domains_max = 2}};
  DomainId domain_ = cache_.Domain("");
  std::vector<BlockCopy> copies_;
};

TEST_F(PrefixCacheTest, FindsWhatAnotherSequencePublished) {
  RunAndRelease(Range(0, 10));
  EXPECT_EQ(cache_.Find(domain_, Range(0, 12)), 10);
  Sequence sequence;
  EXPECT_EQ(cache_.Attach(domain_, Range(0, 12), 0, sequence), 10);
  EXPECT_EQ(sequence.blocks.size(), 3u);
  cache_.Release(sequence);
}

TEST_F(PrefixCacheTest, SharesToTheTokenAndCopiesTheBlockThatIsLeft) {
  Sequence first = Run(Range(0, 8));
  const Tokens other = Join(Range(0, 6), Range(50, 3));
  Sequence second;
  EXPECT_EQ(cache_.Attach(domain_, other, 0, second), 6);
  EXPECT_EQ(second.blocks, first.blocks);
  ASSERT_TRUE(cache_.Extend(second, 9, copies_));
  ASSERT_EQ(copies_.size(), 1u);
  EXPECT_EQ(copies_[0].from, first.blocks[1]);
  EXPECT_EQ(copies_[0].to, second.blocks[1]);
  EXPECT_EQ(copies_[0].rows, 2);
  EXPECT_EQ(second.blocks[0], first.blocks[0]);
  cache_.Publish(second, other, 0);
  EXPECT_EQ(cache_.Find(domain_, other), 9);
  EXPECT_EQ(cache_.Find(domain_, Range(0, 8)), 8);
  const Sequence* both[] = {&first, &second};
  cache_.CheckIntegrity(both);
}

TEST_F(PrefixCacheTest, TheFirstToGoOnInASharedBlockNeedsNoCopy) {
  RunAndRelease(Range(0, 6));
  Sequence first, second;
  cache_.Attach(domain_, Range(0, 6), 0, first);
  cache_.Attach(domain_, Range(0, 6), 0, second);
  EXPECT_TRUE(cache_.Extend(first, 7, copies_));
  EXPECT_TRUE(copies_.empty());
  EXPECT_TRUE(cache_.Extend(second, 7, copies_));
  EXPECT_EQ(copies_.size(), 1u);
}

TEST_F(PrefixCacheTest, KeepsOneOfTwoEqualBlocks) {
  Sequence first, second;
  cache_.Attach(domain_, Range(0, 8), 0, first);
  cache_.Attach(domain_, Range(0, 8), 0, second);
  ASSERT_TRUE(cache_.Extend(first, 8, copies_));
  ASSERT_TRUE(cache_.Extend(second, 8, copies_));
  EXPECT_EQ(cache_.free_blocks(), 4);
  cache_.Publish(first, Range(0, 8), 0);
  cache_.Publish(second, Range(0, 8), 0);
  EXPECT_EQ(second.blocks, first.blocks);
  EXPECT_EQ(cache_.free_blocks(), 6);
}

TEST_F(PrefixCacheTest, DomainsShareNothing) {
  RunAndRelease(Range(0, 8));
  const DomainId other = cache_.Domain("tenant");
  EXPECT_EQ(cache_.Find(other, Range(0, 8)), 0);
  EXPECT_EQ(cache_.Domain("tenant"), other);
}

TEST_F(PrefixCacheTest, GivesUpAnEmptyDomainForANewOneAndNoOther) {
  RunAndRelease(Range(0, 4));
  const DomainId second = cache_.Domain("b");
  EXPECT_NE(second, kNoDomain);
  EXPECT_NE(cache_.Domain("c"), kNoDomain);
  EXPECT_EQ(cache_.Find(domain_, Range(0, 4)), 4);
  Sequence sequence;
  cache_.Attach(cache_.Domain("c"), {}, 0, sequence);
  EXPECT_EQ(cache_.Domain("d"), kNoDomain);
  cache_.Release(sequence);
}

TEST_F(PrefixCacheTest, ASequenceWithoutADomainKeepsItsRowsToItself) {
  Sequence sequence;
  EXPECT_EQ(cache_.Attach(kNoDomain, Range(0, 4), 0, sequence), 0);
  ASSERT_TRUE(cache_.Extend(sequence, 4, copies_));
  cache_.Publish(sequence, Range(0, 4), 0);
  cache_.Release(sequence);
  EXPECT_EQ(cache_.free_blocks(), 8);
}

TEST_F(PrefixCacheTest, ForgetsTheLongestUnusedTailFirst) {
  RunAndRelease(Range(0, 8));
  RunAndRelease(Range(100, 8));
  RunAndRelease(Range(0, 8));  // used again: now the younger one
  Sequence sequence;
  cache_.Attach(domain_, Range(200, 20), 0, sequence);
  ASSERT_TRUE(cache_.Extend(sequence, 20, copies_));  // five blocks, four are free
  EXPECT_EQ(cache_.Find(domain_, Range(0, 8)), 8);
  EXPECT_EQ(cache_.Find(domain_, Range(100, 8)), 4);
  EXPECT_EQ(cache_.statistics().evicted_tokens, 4);
}

TEST_F(PrefixCacheTest, ForgetsTheLeastValuableClassFirst) {
  RunAndRelease(Range(0, 16), 0);
  RunAndRelease(Range(100, 16), 2);
  RunAndRelease(Range(200, 4), 0);
  EXPECT_EQ(cache_.Find(domain_, Range(0, 16)), 16);
  EXPECT_EQ(cache_.Find(domain_, Range(100, 16)), 12);
}

TEST_F(PrefixCacheTest, NeverForgetsWhatASequenceUses) {
  Sequence first = Run(Range(0, 32));
  Sequence second;
  cache_.Attach(domain_, Range(100, 4), 0, second);
  EXPECT_FALSE(cache_.Extend(second, 4, copies_));
  EXPECT_EQ(second.length, 0);
  cache_.Release(first);
  EXPECT_TRUE(cache_.Extend(second, 4, copies_));
}

TEST_F(PrefixCacheTest, ASequenceThatIsAloneCanUseEveryBlock) {
  // Each of these leaves the one before inside of the first block: the rows of the last one end up
  // in four blocks.
  RunAndRelease({1, 9, 9, 9});
  RunAndRelease({1, 2, 9, 9});
  RunAndRelease({1, 2, 3, 9});
  Sequence sequence = Run({1, 2, 3, 4});
  EXPECT_TRUE(cache_.Extend(sequence, 32, copies_));
  const Sequence* all[] = {&sequence};
  cache_.CheckIntegrity(all);
}

TEST_F(PrefixCacheTest, WhatIsTruncatedCanBeWrittenAgain) {
  Sequence sequence = Run(Range(0, 6));
  ASSERT_TRUE(cache_.Extend(sequence, 14, copies_));
  cache_.Truncate(sequence, 6);
  EXPECT_EQ(sequence.blocks.size(), 2u);
  ASSERT_TRUE(cache_.Extend(sequence, 7, copies_));
  const Tokens tokens = Join(Range(0, 6), {70});
  cache_.Publish(sequence, tokens, 0);
  EXPECT_EQ(cache_.Find(domain_, tokens), 7);
  const Sequence* all[] = {&sequence};
  cache_.CheckIntegrity(all);
}

}  // namespace
}  // namespace sluice::kv

#include "tensor/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "tensor/tensor.h"

namespace sluice::tensor {
namespace {

using Block = std::shared_ptr<std::byte>;

TEST(BufferPool, ABlockThatCameBackIsUsedAgain) {
  const auto pool = BufferPool::Create({});
  Block first = pool->Take(1000).value();
  const std::byte* const at = first.get();
  Block copy = first;
  first = {};
  EXPECT_NE(pool->Take(1000).value().get(), at) << "a copy still holds it";
  copy = {};
  std::set<const std::byte*> seen;
  std::vector<Block> held;
  for (int i = 0; i < 2; ++i) {
    held.push_back(pool->Take(1000).value());
    seen.insert(held.back().get());
  }
  EXPECT_EQ(seen.count(at), 1U);
  EXPECT_LE(pool->bytes(), 2 * 1280);
}

TEST(BufferPool, EverySizeGetsAnAlignedBlockAtMostAQuarterTooLarge) {
  const auto pool = BufferPool::Create({});
  for (int64_t bytes = 0; bytes < 5000; bytes += 7) {
    const int64_t before = pool->bytes();
    const Block taken = pool->Take(bytes).value();
    ASSERT_EQ(reinterpret_cast<uintptr_t>(taken.get()) % kAlignment, 0U);
    std::memset(taken.get(), 1, static_cast<size_t>(bytes));
    const int64_t block = pool->bytes() - before;  // 0: it was used again
    ASSERT_LE(block, std::max<int64_t>(256, bytes + bytes / 4 + 1)) << bytes;
  }
}

TEST(BufferPool, WhatExceedsTheIdleLimitGoesBackToTheSystemAndTheLedger) {
  Ledger ledger("host", 10 << 20);
  BufferPool::Options options;
  options.idle_bytes_max = 4096;
  options.ledger = &ledger;
  options.owner = "answers";
  auto pool = BufferPool::Create(options);
  std::vector<Block> held;
  for (int i = 0; i < 8; ++i) held.push_back(pool->Take(2048).value());
  EXPECT_EQ(ledger.used_bytes(), 8 * 2048);
  held.clear();
  EXPECT_EQ(pool->idle_bytes(), 4096);
  EXPECT_EQ(ledger.used_bytes(), 4096);
  pool.reset();
  EXPECT_EQ(ledger.used_bytes(), 0);
}

TEST(BufferPool, ALedgerThatIsFullRefusesAndLosesNothing) {
  Ledger ledger("host", 4096);
  auto pool = BufferPool::Create({.ledger = &ledger});
  const Block held = pool->Take(4000).value();
  const base::Result<Block> refused = pool->Take(4000);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, base::Code::kResourceExhausted);
  EXPECT_EQ(pool->bytes(), 4096);
}

TEST(BufferPool, BlocksOutliveTheirPoolsOwnerAndComeBackFromOtherThreads) {
  Ledger ledger("host", 100 << 20);
  auto pool = BufferPool::Create({.ledger = &ledger});
  for (int round = 0; round < 50; ++round) {
    std::vector<Block> out;
    for (int i = 0; i < 16; ++i) out.push_back(pool->Take(100 << (i % 8)).value());
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&out, t] {
        for (size_t i = t; i < out.size(); i += 4) out[i] = {};
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(pool->bytes(), pool->idle_bytes());
  Block last = pool->Take(5000).value();
  pool.reset();
  EXPECT_GT(ledger.used_bytes(), 0);
  last = {};
  EXPECT_EQ(ledger.used_bytes(), 0);
}

}  // namespace
}  // namespace sluice::tensor

#include "tensor/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "tensor/tensor.h"

namespace sluice::tensor {
namespace {

constexpr int64_t kPage = int64_t{2} << 20;

TEST(Arena, RoundsUpToWholeHugePagesAndStartsOnOne) {
  Arena arena = Arena::Create(kPage + 1).value();
  EXPECT_EQ(arena.capacity(), 2 * kPage);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.data()) % kPage, 0u);
}

TEST(Arena, BlocksAreAlignedDisjointAndWritable) {
  Arena arena = Arena::Create(kPage).value();
  std::byte* last = nullptr;
  for (const int64_t bytes : {1, 64, 65, 1000, 3}) {
    std::byte* block = arena.Take(bytes);
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % kAlignment, 0u);
    EXPECT_GT(block, last);
    std::memset(block, 0xAB, static_cast<size_t>(bytes));
    last = block + bytes - 1;
  }
}

TEST(Arena, IsFullExactlyAtItsCapacity) {
  Arena arena = Arena::Create(kPage).value();
  EXPECT_NE(arena.Take(kPage - 64), nullptr);
  EXPECT_NE(arena.Take(64), nullptr);
  EXPECT_EQ(arena.Take(1), nullptr);
  EXPECT_EQ(arena.used(), kPage);
}

TEST(Arena, RefusesMoreThanIsLeftHoweverLarge) {
  Arena arena = Arena::Create(kPage).value();
  EXPECT_EQ(arena.Take(kPage + 1), nullptr);
  EXPECT_EQ(arena.Take(std::numeric_limits<int64_t>::max()), nullptr);
  EXPECT_EQ(arena.used(), 0);
}

TEST(Arena, ResetGivesTheSameMemoryAgain) {
  Arena arena = Arena::Create(kPage).value();
  std::byte* first = arena.Take(100);
  arena.Reset();
  EXPECT_EQ(arena.used(), 0);
  EXPECT_EQ(arena.Take(100), first);
}

TEST(Arena, MovingHandsTheBlockOver) {
  Arena arena = Arena::Create(kPage).value();
  std::byte* data = arena.data();
  Arena moved = std::move(arena);
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(arena.capacity(), 0);
  arena = Arena::Create(2 * kPage).value();
  arena = std::move(moved);
  EXPECT_EQ(arena.data(), data);
}

TEST(Arena, WhatABlockDoesNotNeedIsTakenAgainUnlessMoreLiesBehindIt) {
  Arena arena = Arena::Create(kPage).value();
  std::byte* const first = arena.Take(1000);
  arena.Shrink(first, 1000, 100);
  std::byte* const second = arena.Take(64);
  EXPECT_EQ(second, first + 128);
  arena.Shrink(first, 100, 0);
  EXPECT_EQ(arena.Take(64), second + 64);
}

TEST(Arena, ForgottenPagesAreNewAndThoseBeforeThemAreKept) {
  Arena arena = Arena::Create(3 * kPage).value();
  std::memset(arena.data(), 7, 3 * kPage);
  arena.Forget(kPage + 1);
  EXPECT_EQ(arena.data()[2 * kPage - 1], std::byte{7});
  EXPECT_EQ(arena.data()[2 * kPage], std::byte{0});
  EXPECT_EQ(arena.data()[3 * kPage - 1], std::byte{0});
  EXPECT_EQ(arena.capacity(), 3 * kPage);
  arena.Forget(5 * kPage);  // nothing lies there
  EXPECT_EQ(arena.data()[0], std::byte{7});
}

TEST(Arena, AnEmptyArenaTakesNothing) {
  Arena arena = Arena::Create(0).value();
  EXPECT_EQ(arena.capacity(), 0);
  EXPECT_EQ(arena.Take(1), nullptr);
}

TEST(Arena, WhatTheSystemCannotMapIsRefused) {
  for (const int64_t bytes : {std::numeric_limits<int64_t>::max(), int64_t{1} << 62}) {
    const base::Result<Arena> arena = Arena::Create(bytes);
    ASSERT_FALSE(arena.ok());
    EXPECT_EQ(arena.error().code, base::Code::kResourceExhausted);
  }
}

}  // namespace
}  // namespace sluice::tensor

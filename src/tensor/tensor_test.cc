#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "tensor/dispatch.h"

namespace sluice::tensor {
namespace {

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

TEST(DType, NamesAreThoseOfTheOpenInferenceProtocolAndReadBack) {
  for (int i = 0; i < kWireTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(DTypeFromName(DTypeName(dtype)), dtype);
  }
  EXPECT_EQ(DTypeName(DType::kF32), "FP32");
  EXPECT_EQ(DTypeName(DType::kBytes), "BYTES");
  EXPECT_EQ(DTypeFromName("float32"), std::nullopt);
  EXPECT_EQ(DTypeFromName(""), std::nullopt);
}

TEST(DType, SizesAreThoseOfTheCppTypes) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const bool fixed = DispatchFixed(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      EXPECT_EQ(DTypeSize(dtype), static_cast<int64_t>(sizeof(T)));
      EXPECT_EQ(DTypeOf<T>, dtype);
    });
    EXPECT_EQ(fixed, dtype != DType::kBytes && !IsStorage(dtype));
  }
  EXPECT_EQ(DTypeOf<std::string_view>, DType::kBytes);
}

// Bytes that count how often they were made.
class CountedBytes final : public DeferredBytes {
 public:
  CountedBytes(int64_t bytes, std::byte value) : DeferredBytes(bytes), value_(value) {}
  void Describe(Origin& origin) const override { origin.recipe += "counted"; }
  mutable std::atomic<int> times{0};

 private:
  void Write(std::byte* to) const override {
    ++times;
    std::fill_n(to, bytes(), value_);
  }
  const std::byte value_;
};

TEST(Buffer, DeferredBytesAreMadeOnceByTheFirstWhoLooks) {
  for (const int64_t size : {int64_t{100}, (int64_t{4} << 20) + 1}) {
    auto bytes = std::make_shared<const CountedBytes>(size, std::byte{5});
    const Buffer buffer = Buffer::Defer(bytes);
    EXPECT_TRUE(buffer);
    EXPECT_EQ(buffer.bytes(), size);
    EXPECT_FALSE(buffer.made());
    DeferredBytes::Origin origin;
    buffer.Describe(origin);
    EXPECT_EQ(origin.recipe, "counted");
    EXPECT_EQ(bytes->times, 0);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back(
          [copy = buffer, size] { EXPECT_EQ(copy.data()[size - 1], std::byte{5}); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(bytes->times, 1);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kAlignment, 0U);
  }
}

TEST(Buffer, WhatWasMadeOutlivesWhatItWasMadeOf) {
  auto bytes = std::make_shared<const CountedBytes>(64, std::byte{6});
  const std::weak_ptr<const CountedBytes> alive = bytes;
  Buffer buffer = Buffer::Defer(std::move(bytes));
  buffer = buffer.Made();
  EXPECT_TRUE(alive.expired());
  EXPECT_FALSE(buffer.deferred());
  EXPECT_EQ(buffer.data()[63], std::byte{6});
}

TEST(Dispatch, VisitsOnlyTypesOfItsClass) {
  int floats = 0;
  int integers = 0;
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const bool is_float = DispatchFloat(dtype, [&](auto) { ++floats; });
    const bool is_integer = DispatchInteger(dtype, [&](auto tag) {
      static_assert(std::is_integral_v<typename decltype(tag)::type>);
      ++integers;
    });
    EXPECT_EQ(is_float, IsFloat(dtype));
    EXPECT_FALSE(is_float && is_integer);
  }
  EXPECT_EQ(floats, 4);
  EXPECT_EQ(integers, 8);
}

TEST(Shape, CountsElementsOfAnyRank) {
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ(Shape({5}).elements(), 5);
  EXPECT_EQ(Shape({2, 3, 4}).elements(), 24);
  EXPECT_EQ(Shape({2, 0, 4}).elements(), 0);
  EXPECT_EQ(Shape({2, 3, 4}).elements(1, 3), 12);
  EXPECT_EQ(Shape({2, 3, 4}).elements(1, 1), 1);
  EXPECT_EQ(Shape({2, 3}).ToString(), "[2, 3]");
  EXPECT_EQ(Shape().ToString(), "[]");
}

TEST(Shape, DimsFromOutsideAreRefusedWhenNegativeTooManyOrOverflowing) {
  const auto from = [](std::vector<int64_t> dims) { return Shape::FromDims(dims).ok(); };
  EXPECT_TRUE(from({}));
  EXPECT_TRUE(from({1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_TRUE(from({kHuge}));
  EXPECT_TRUE(from({kHuge, 0}));
  EXPECT_TRUE(from({int64_t{1} << 31, int64_t{1} << 31}));
  EXPECT_FALSE(from({1, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_FALSE(from({-1}));
  EXPECT_FALSE(from({2, std::numeric_limits<int64_t>::min()}));
  EXPECT_FALSE(from({int64_t{1} << 32, int64_t{1} << 32}));
  EXPECT_FALSE(from({int64_t{1} << 62, 2}));
  // A zero must not hide a product that the strides behind it would overflow.
  EXPECT_FALSE(from({0, int64_t{1} << 62, 2}));
  EXPECT_FALSE(from({int64_t{1} << 62, 0, 2}));
}

TEST(Shape, ByteSizesThatOverflowAreRefused) {
  EXPECT_EQ(CheckedBytes(Shape({3, 5}), 4).value(), 60);
  EXPECT_EQ(CheckedBytes(Shape({kHuge, 0}), 1).value(), 0);
  EXPECT_FALSE(CheckedBytes(Shape({kHuge}), 2).ok());
  EXPECT_FALSE(CheckedBytes(Shape({int64_t{1} << 31, int64_t{1} << 31}), 4).ok());
}

TEST(Shape, EqualityComparesRankAndExtents) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_FALSE(Shape({2, 3}) == Shape({3, 2}));
  EXPECT_FALSE(Shape({2}) == Shape({2, 1}));
  Shape shape({2});
  shape.Append(3);
  EXPECT_EQ(shape, Shape({2, 3}));
  shape.set_dim(0, 7);
  EXPECT_EQ(shape, Shape({7, 3}));
}

TEST(ShapeDeath, OurOwnDimsAreChecked) {
  EXPECT_DEATH(Shape({-1}), "CHECK failed");
  EXPECT_DEATH(Shape({1, 1, 1, 1, 1, 1, 1, 1}).Append(1), "CHECK failed");
}

TEST(Tensor, IsAllocatedAlignedAndWithinTheLimit) {
  const Tensor tensor = Tensor::Allocate(DType::kF32, Shape({3, 5}), 60).value();
  EXPECT_EQ(tensor.view().bytes(), 60);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view().data) % kAlignment, 0u);
  EXPECT_FALSE(Tensor::Allocate(DType::kF32, Shape({3, 5}), 59).ok());
  EXPECT_FALSE(Tensor::Allocate(DType::kF64, Shape({kHuge}), kHuge).ok());
}

TEST(Tensor, AnEmptyTensorHasABufferAllTheSame) {
  const Tensor tensor = Tensor::Allocate(DType::kI64, Shape({0, 4}), 0).value();
  EXPECT_TRUE(static_cast<bool>(tensor.buffer));
  EXPECT_EQ(tensor.buffer.bytes(), 0);
  EXPECT_FALSE(static_cast<bool>(Buffer()));
}

TEST(Tensor, StringsAreCopiedAndKeptAliveByTheBuffer) {
  Buffer kept;
  {
    std::vector<std::string> elements = {"", "a", std::string(100, 'x'), std::string("n\0l", 3)};
    Tensor tensor = Tensor::FromStrings(Shape({2, 2}), elements);
    elements.clear();
    kept = tensor.buffer;
  }
  const ConstView view{DType::kBytes, Shape({2, 2}), kept.data()};
  const std::span<const std::string_view> strings = view.span<std::string_view>();
  EXPECT_EQ(strings[0], "");
  EXPECT_EQ(strings[1], "a");
  EXPECT_EQ(strings[2], std::string(100, 'x'));
  EXPECT_EQ(strings[3], std::string_view("n\0l", 3));
}

TEST(Buffer, AWrappedOwnerLivesAsLongAsTheLastCopy) {
  auto owner = std::make_shared<std::vector<float>>(4, 1.5f);
  const std::weak_ptr<std::vector<float>> watch = owner;
  Buffer first = Buffer::Wrap(owner, owner->data(), 16);
  owner.reset();
  const Buffer second = first;
  first = Buffer();
  ASSERT_FALSE(watch.expired());
  EXPECT_EQ(reinterpret_cast<const float*>(second.data())[3], 1.5f);
}

TEST(View, WritesAreSeenThroughTheConstView) {
  Tensor tensor = Tensor::Allocate(DType::kI32, Shape({2, 2}), 16).value();
  const View view = tensor.mutable_view();
  for (int32_t& x : view.span<int32_t>()) x = 7;
  const ConstView look = view;
  for (const int32_t x : look.span<int32_t>()) EXPECT_EQ(x, 7);
}

}  // namespace
}  // namespace sluice::tensor

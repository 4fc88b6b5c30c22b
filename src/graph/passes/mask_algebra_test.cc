#include "graph/passes/mask_algebra.h"

#include <gtest/gtest.h>

#include "graph/test_graph.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr int64_t kLength = 6;  // at most

// The mask's bits, along `axis` of a value whose sequences are on axis 0.
MaskTable Bits(int axis) {
  MaskTable table;
  table.values = {DType::kI64, Shape({2, 1, 1, 1}), tensor::Buffer::Allocate(16)};
  table.values.mutable_view().as<int64_t>()[0] = 0;
  table.values.mutable_view().as<int64_t>()[1] = 1;
  table.batch = 0;
  table.axes[0] = axis;
  return table;
}

MaskTable Number(float value) {
  Tensor scalar{DType::kF32, Shape(), tensor::Buffer::Allocate(4)};
  *scalar.mutable_view().as<float>() = value;
  return UniformTable(scalar);
}

// i(rows) - i(columns) of a value of rank 4.
MaskTable Distance() {
  SymbolTable symbols;
  const Dim length = symbols.Symbol("length");
  const Affine affine{Dim(0), {Dim(0), Dim(0), Dim(1), Dim(-1)}};
  return TableOf(affine, {Dim(1), Dim(1), length, length}, length, DType::kI64, kLength).value();
}

// A node over values of rank 4 whose tables the tests give.
class MaskAlgebraTest : public ::testing::Test {
 protected:
  MaskTable Apply(const char* op, const std::vector<MaskTable>& operands,
                  const std::vector<DType>& types, TestGraph::Attributes attributes = {}) {
    std::vector<Value*> inputs;
    std::vector<TableOperand> tables;
    for (size_t i = 0; i < operands.size(); ++i) {
      inputs.push_back(graph_.Input("x", {Dim(2), Dim(2), Dim(2), Dim(2)}, types[i]));
      tables.push_back({&operands[i], 4});
    }
    const Node& node = *graph_.Add(op, inputs, attributes)->producer;
    base::Result<MaskTable> result = CombineTables(node, tables, 4);
    CHECK(result.ok()) << result.error().message;
    return std::move(result).value();
  }
  // 0 where `keep`, else `low`.
  MaskTable Additive(const MaskTable& keep, float low) {
    return Apply("Where", {keep, Number(0), Number(low)}, {DType::kBool, DType::kF32, DType::kF32});
  }
  MaskTable Kept(const MaskTable& bits) {
    return Apply("Cast", {bits}, {DType::kI64}, {{"to", int64_t{9}}});
  }
  // Keys at distance query - key within [-after, before].
  MaskTable Within(int64_t before, int64_t after) {
    const auto constant = [](int64_t value) {
      Tensor scalar{DType::kI64, Shape(), tensor::Buffer::Allocate(8)};
      *scalar.mutable_view().as<int64_t>() = value;
      return UniformTable(scalar);
    };
    const std::vector<DType> ints = {DType::kI64, DType::kI64};
    const MaskTable low = Apply("Less", {Distance(), constant(before + 1)}, ints);
    const MaskTable high = Apply("Greater", {Distance(), constant(-after - 1)}, ints);
    return Apply("And", {low, high}, {DType::kBool, DType::kBool});
  }

  TestGraph graph_;
};

TEST_F(MaskAlgebraTest, APositionIsATableOfPlacesAndADifferenceOneOfDistances) {
  SymbolTable symbols;
  const Dim length = symbols.Symbol("length");
  const SymShape shape = {length, length};
  const auto place = TableOf({Dim(3), {Dim(0), Dim(2)}}, shape, length, DType::kI64, kLength);
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->axes[0], 1);
  ASSERT_EQ(place->values.shape, Shape({1, 1, kLength, 1}));
  for (int64_t i = 0; i < kLength; ++i) EXPECT_EQ(place->values.view().as<int64_t>()[i], 3 + 2 * i);
  const MaskTable distance = Distance();
  ASSERT_EQ(distance.values.shape, Shape({1, 1, 1, 2 * kLength - 1}));
  EXPECT_EQ(distance.values.view().as<int64_t>()[0], 1 - kLength);
  EXPECT_EQ(distance.values.view().as<int64_t>()[2 * kLength - 2], kLength - 1);
  // A sum of two positions is no function of their distance.
  EXPECT_FALSE(
      TableOf({Dim(0), {Dim(1), Dim(1)}}, shape, length, DType::kI64, kLength).has_value());
}

TEST_F(MaskAlgebraTest, BitsOfTwoAxesMeetInEveryCase) {
  const MaskTable both = Apply("Mul", {Bits(2), Bits(3)}, {DType::kI64, DType::kI64});
  EXPECT_EQ(both.batch, 0);
  EXPECT_EQ(both.axes[0], 2);
  EXPECT_EQ(both.axes[1], 3);
  ASSERT_EQ(both.values.shape, Shape({2, 2, 1, 1}));
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(both.values.view().as<int64_t>()[i], i == 3 ? 1 : 0);
  }
}

TEST_F(MaskAlgebraTest, WhatDoesNotDependOnAnAxisForgetsIt) {
  // bit * 0 is 0 whatever the bit.
  const MaskTable zero = Apply("Sub", {Bits(3), Bits(3)}, {DType::kI64, DType::kI64});
  EXPECT_TRUE(zero.uniform());
  EXPECT_EQ(zero.batch, -1);
}

TEST_F(MaskAlgebraTest, MasksOfDifferentSequencesDoNotMeet) {
  MaskTable other = Bits(3);
  other.batch = 1;
  const MaskTable own = Bits(3);
  Value* a = graph_.Input("a", {Dim(2), Dim(2), Dim(2), Dim(2)}, DType::kI64);
  const Node& node = *graph_.Add("Mul", {a, a})->producer;
  EXPECT_FALSE(CombineTables(node, {{&own, 4}, {&other, 4}}, 4).ok());
}

TEST_F(MaskAlgebraTest, AnAdditiveMaskOfKeysExcludesPaddingAloneWithoutAWindow) {
  const MaskTable mask = Additive(Kept(Bits(3)), -1e9F);
  const AttentionMask read = ReadAttentionMask(mask, 4, 4, kLength).value();
  EXPECT_TRUE(read.excludes_padding);
  EXPECT_EQ(read.before, -1);
  EXPECT_EQ(read.after, -1);
}

TEST_F(MaskAlgebraTest, AMaskThatLowersTooLittleExcludesNothing) {
  EXPECT_FALSE(
      ReadAttentionMask(Additive(Kept(Bits(3)), -100), 4, 4, kLength).value().excludes_padding);
}

TEST_F(MaskAlgebraTest, AMaskOfQueriesExcludesNothing) {
  EXPECT_FALSE(
      ReadAttentionMask(Additive(Kept(Bits(2)), -1e9F), 4, 4, kLength).value().excludes_padding);
}

TEST_F(MaskAlgebraTest, AWindowIsReadWithItsTwoSides) {
  for (const auto& [before, after] : {std::pair<int64_t, int64_t>(2, 2), {3, 0}, {0, 1}}) {
    const MaskTable seen =
        Apply("And", {Within(before, after), Kept(Bits(3))}, {DType::kBool, DType::kBool});
    const AttentionMask read = ReadAttentionMask(Additive(seen, -1e9F), 4, 4, kLength).value();
    EXPECT_TRUE(read.excludes_padding) << before << " " << after;
    EXPECT_EQ(read.before, before);
    EXPECT_EQ(read.after, after);
  }
}

TEST_F(MaskAlgebraTest, AWindowWithoutTheMaskSaysNothingAboutPadding) {
  const AttentionMask read =
      ReadAttentionMask(Additive(Within(2, 2), -1e9F), 4, 4, kLength).value();
  EXPECT_FALSE(read.excludes_padding);
  EXPECT_EQ(read.before, 2);
}

TEST_F(MaskAlgebraTest, AWindowWithAGapOrWithoutItsQueryIsRefused) {
  const MaskTable gap = Apply("Xor", {Within(3, 3), Within(1, 1)}, {DType::kBool, DType::kBool});
  EXPECT_FALSE(ReadAttentionMask(Additive(gap, -1e9F), 4, 4, kLength).ok());
  EXPECT_FALSE(ReadAttentionMask(Additive(Within(4, -2), -1e9F), 4, 4, kLength).ok());
}

TEST_F(MaskAlgebraTest, ABiasByDistanceIsNoMask) {
  const MaskTable bias = Apply("Cast", {Distance()}, {DType::kI64}, {{"to", int64_t{1}}});
  EXPECT_FALSE(ReadAttentionMask(bias, 4, 4, kLength).ok());
}

TEST_F(MaskAlgebraTest, TurnedAxesTurnBitsAndDistances) {
  const MaskTable seen = Apply("And", {Within(3, 0), Kept(Bits(3))}, {DType::kBool, DType::kBool});
  const MaskTable mask = Additive(seen, -1e9F);
  const MaskTable turned = MoveAxes(mask, {0, 1, 3, 2}).value();
  EXPECT_EQ(turned.axes[0], 2);
  EXPECT_EQ(turned.axes[1], 3);
  // What hid keys now hides queries, and three before became three after.
  const AttentionMask read = ReadAttentionMask(turned, 4, 4, kLength).value();
  EXPECT_FALSE(read.excludes_padding);
  const AttentionMask back =
      ReadAttentionMask(MoveAxes(turned, {0, 1, 3, 2}).value(), 4, 4, kLength).value();
  EXPECT_TRUE(back.excludes_padding);
  EXPECT_EQ(back.before, 3);
  EXPECT_EQ(back.after, 0);
  EXPECT_FALSE(MoveAxes(mask, {0, 1, 2, -1}).has_value());
}

}  // namespace
}  // namespace sluice::graph

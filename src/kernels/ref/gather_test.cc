// Reference gathers, scatters and selections: values, order, and refusal of positions out of range.
#include "kernels/ref/gather.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string_view>
#include <vector>

namespace sluice::kernels::ref {
namespace {

using tensor::DType;
using tensor::DTypeOf;
using tensor::Shape;

template <class T>
ConstView In(const std::vector<T>& data, const Shape& shape) {
  return {DTypeOf<T>, shape, data.data()};
}
template <class T>
View Out(std::vector<T>& data, const Shape& shape) {
  data.assign(static_cast<size_t>(shape.elements()), T(99));
  return {DTypeOf<T>, shape, data.data()};
}
using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;

TEST(RefGather, TakesNegativeIndicesOnAnyAxis) {
  const Floats x = {0, 1, 2, 10, 11, 12};
  const std::vector<int32_t> indices = {-1, 0};
  Floats y;
  ASSERT_TRUE(Gather({In(x, {2, 3}), In(indices, {2}), Out(y, {2, 2}), 1}).ok());
  EXPECT_EQ(y, (Floats{2, 0, 12, 10}));
  ASSERT_TRUE(Gather({In(x, {2, 3}), In(indices, {2}), Out(y, {2, 3}), 0}).ok());
  EXPECT_EQ(y, (Floats{10, 11, 12, 0, 1, 2}));
}

TEST(RefGather, RefusesIndicesOutsideByName) {
  const Floats x = {0, 1, 2};
  Floats y;
  for (int64_t bad : {int64_t{3}, int64_t{-4}, INT64_MIN, INT64_MAX}) {
    const Ints indices = {0, bad};
    const base::Status status = Gather({In(x, {3}), In(indices, {2}), Out(y, {2}), 0});
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().message.find(std::to_string(bad)), std::string::npos);
    EXPECT_FALSE(GatherElements({In(x, {3}), In(indices, {2}), Out(y, {2}), 0}).ok());
    EXPECT_FALSE(GatherNd({In(x, {3}), In(indices, {2, 1}), Out(y, {2}), 0}).ok());
    Floats z;
    EXPECT_FALSE(ScatterElements({In(x, {3}), In(indices, {2}), In(x, {2}), Out(z, {3}), 0}).ok());
    EXPECT_FALSE(ScatterNd({In(x, {3}), In(indices, {2, 1}), In(x, {2}), Out(z, {3})}).ok());
  }
}

TEST(RefGather, AnEmptyAxisRefusesEveryIndex) {
  const Floats x;
  const Ints indices = {0};
  Floats y;
  EXPECT_FALSE(Gather({In(x, {0, 2}), In(indices, {1}), Out(y, {1, 2}), 0}).ok());
}

TEST(RefGatherElements, PicksAlongTheAxis) {
  const Floats x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const Ints indices = {1, 2, 0, 2, 0, 0};
  Floats y;
  ASSERT_TRUE(GatherElements({In(x, {3, 3}), In(indices, {2, 3}), Out(y, {2, 3}), 0}).ok());
  EXPECT_EQ(y, (Floats{4, 8, 3, 7, 2, 3}));
}

TEST(RefGatherNd, TakesSlicesPerBatch) {
  const std::vector<int32_t> x = {0, 1, 2, 3, 4, 5, 6, 7};
  std::vector<int32_t> y;
  ASSERT_TRUE(GatherNd({In(x, {2, 2, 2}), In(Ints{0, 1, 1, 0}, {2, 2}), Out(y, {2, 2}), 0}).ok());
  EXPECT_EQ(y, (std::vector<int32_t>{2, 3, 4, 5}));
  ASSERT_TRUE(GatherNd({In(x, {2, 2, 2}), In(Ints{1, 0}, {2, 1}), Out(y, {2, 2}), 1}).ok());
  EXPECT_EQ(y, (std::vector<int32_t>{2, 3, 4, 5}));
}

TEST(RefScatterElements, ReducesRepeatedPositionsInOrder) {
  const Floats x = {1, 1, 1};
  const Floats updates = {2, 3, 4};
  const Ints indices = {0, 0, -1};
  Floats y;
  ScatterElementsArgs args{In(x, {3}), In(indices, {3}), In(updates, {3}), Out(y, {3}), 0};
  ASSERT_TRUE(ScatterElements(args).ok());
  EXPECT_EQ(y, (Floats{3, 1, 4}));
  args.reduction = ScatterReduction::kAdd;
  ASSERT_TRUE(ScatterElements(args).ok());
  EXPECT_EQ(y, (Floats{6, 1, 5}));
  args.reduction = ScatterReduction::kMul;
  ASSERT_TRUE(ScatterElements(args).ok());
  EXPECT_EQ(y, (Floats{6, 1, 4}));
  args.reduction = ScatterReduction::kMin;
  ASSERT_TRUE(ScatterElements(args).ok());
  EXPECT_EQ(y, (Floats{1, 1, 1}));
}

TEST(RefScatterNd, WritesSlices) {
  const Floats x(6, 0);
  const Floats updates = {1, 2, 3};
  Floats y;
  ASSERT_TRUE(
      ScatterNd({In(x, {2, 3}), In(Ints{1}, {1, 1}), In(updates, {1, 3}), Out(y, {2, 3})}).ok());
  EXPECT_EQ(y, (Floats{0, 0, 0, 1, 2, 3}));
}

TEST(RefOneHot, OutsideIndicesGiveAllOff) {
  const Floats values = {-1, 5};
  Floats y;
  OneHot({In(Ints{1, -1, 3}, {3}), In(values, {2}), Out(y, {3, 3}), 1});
  EXPECT_EQ(y, (Floats{-1, 5, -1, -1, -1, 5, -1, -1, -1}));
  OneHot({In(Ints{0, 2}, {2}), In(values, {2}), Out(y, {3, 2}), 0});
  EXPECT_EQ(y, (Floats{5, -1, -1, -1, -1, 5}));
}

TEST(RefNonZero, ListsCoordinatesInOrder) {
  const Floats x = {1, 0, 0, 3, NAN, 0};
  ASSERT_EQ(NonZeroCount(In(x, {2, 3})), 3);
  Ints y;
  NonZero({In(x, {2, 3}), Out(y, {2, 3})});
  EXPECT_EQ(y, (Ints{0, 1, 1, 0, 0, 1}));
}

TEST(RefCompress, ConditionMayBeShorterThanTheAxis) {
  const Floats x = {1, 2, 3, 4, 5, 6};
  const bool condition[2] = {false, true};
  const ConstView c = {DType::kBool, {2}, condition};
  Floats y;
  ASSERT_EQ(CompressCount(c, 3), 1);
  Compress({In(x, {2, 3}), c, Out(y, {2, 1}), 1});
  EXPECT_EQ(y, (Floats{2, 5}));
  Compress({In(x, {2, 3}), c, Out(y, {1}), -1});
  EXPECT_EQ(y, (Floats{2}));
}

TEST(RefTopK, EqualsGoByPositionAndNaNIsLargest) {
  const Floats x = {1, 7, NAN, 7, 0};
  Floats values;
  Ints indices;
  int64_t scratch[10];
  TopKArgs args{In(x, {5}), Out(values, {3}), Out(indices, {3}), 0, true, scratch};
  ASSERT_EQ(TopKScratch(args), 10);
  TopK(args);
  EXPECT_EQ(indices, (Ints{2, 1, 3}));
  args.largest = false;
  TopK(args);
  EXPECT_EQ(values, (Floats{0, 1, 7}));
  EXPECT_EQ(indices, (Ints{4, 0, 1}));
}

TEST(RefUnique, FindsGroupsSortedAndByFirstOccurrence) {
  const Floats x = {2, 1, 1, 3, 4, 3};
  int64_t scratch[18];
  Floats y;
  Ints first, inverse, counts;
  UniqueArgs args{In(x, {6}), -1, false, scratch};
  ASSERT_EQ(UniqueScratch(args), 18);
  ASSERT_EQ(UniqueFind(args), 4);
  args.y = Out(y, {4}), args.first = Out(first, {4}), args.inverse = Out(inverse, {6}),
  args.counts = Out(counts, {4});
  UniqueWrite(args);
  EXPECT_EQ(y, (Floats{2, 1, 3, 4}));
  EXPECT_EQ(first, (Ints{0, 1, 3, 4}));
  EXPECT_EQ(inverse, (Ints{0, 1, 1, 2, 3, 2}));
  EXPECT_EQ(counts, (Ints{1, 2, 2, 1}));
  args.sorted = true;
  ASSERT_EQ(UniqueFind(args), 4);
  UniqueWrite(args);
  EXPECT_EQ(y, (Floats{1, 2, 3, 4}));
  EXPECT_EQ(first, (Ints{1, 0, 3, 4}));
  EXPECT_EQ(inverse, (Ints{1, 0, 0, 2, 3, 2}));
}

TEST(RefUnique, ComparesWholeSlicesAndStrings) {
  const Floats x = {1, 0, 0, 1, 0, 0, 2, 3, 4};
  int64_t scratch[9];
  Floats y;
  UniqueArgs args{In(x, {3, 3}), 0, true, scratch};
  ASSERT_EQ(UniqueFind(args), 2);
  args.y = Out(y, {2, 3});
  UniqueWrite(args);
  EXPECT_EQ(y, (Floats{1, 0, 0, 2, 3, 4}));
  const std::string_view words[3] = {"b", "a", "b"};
  EXPECT_EQ(UniqueFind({{DType::kBytes, {3}, words}, -1, true, scratch}), 2);
}

}  // namespace
}  // namespace sluice::kernels::ref

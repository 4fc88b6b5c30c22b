#include "graph/lower/place.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::graph {
namespace {

using tensor::Shape;

// Offsets of all elements in row-major order.
std::vector<int64_t> Offsets(const Shape& shape, const Place& place) {
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i < shape.elements(); ++i) {
    int64_t rest = i;
    int64_t offset = 0;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      offset += rest % shape[axis] * place.strides[axis];
      rest /= shape[axis];
    }
    offsets.push_back(offset);
  }
  return offsets;
}

TEST(PlaceTest, AReshapedViewNamesTheSameElementsInTheSameOrder) {
  const std::vector<Shape> shapes = {
      {2, 3, 4},    {6, 4},          {24},      {2, 12}, {2, 3, 2, 2},
      {1, 2, 3, 4}, {2, 1, 3, 4, 1}, {3, 2, 4}, {4, 6},  {12, 2}};
  std::mt19937 random(7);
  int reshaped = 0;
  for (int round = 0; round < 2000; ++round) {
    const Shape& from = shapes[random() % shapes.size()];
    const Shape& to = shapes[random() % shapes.size()];
    Place place;
    // Random strides: packed, with a gap behind some axis, swapped, or broadcast.
    SetPackedStrides(from, place);
    const int axis = static_cast<int>(random() % static_cast<uint32_t>(from.rank()));
    switch (random() % 4) {
      case 1:
        for (int i = 0; i <= axis; ++i) place.strides[i] *= 3;
        break;
      case 2:
        std::swap(place.strides[axis], place.strides[0]);
        break;
      case 3:
        place.strides[axis] = 0;
        break;
    }
    const std::optional<Place> out = ReshapePlace(from, place, to);
    if (!out) continue;
    ++reshaped;
    ASSERT_EQ(Offsets(from, place), Offsets(to, *out))
        << from.ToString() << " to " << to.ToString() << " round " << round;
  }
  EXPECT_GT(reshaped, 500);
}

TEST(PlaceTest, SplittingTheLastAxisOfASliceNeedsNoCopy) {
  Place third;  // columns 8..15 of [2, 5, 24]
  third.ref.offset = 32;
  third.strides[0] = 120;
  third.strides[1] = 24;
  third.strides[2] = 1;
  const std::optional<Place> heads = ReshapePlace({2, 5, 8}, third, {2, 5, 4, 2});
  ASSERT_TRUE(heads.has_value());
  EXPECT_EQ(heads->strides[1], 24);
  EXPECT_EQ(heads->strides[2], 2);
  EXPECT_EQ(heads->strides[3], 1);
}

TEST(PlaceTest, MergingTransposedAxesNeedsACopy) {
  Place transposed;  // [3, 2] of a packed [2, 3]
  transposed.strides[0] = 1;
  transposed.strides[1] = 3;
  EXPECT_FALSE(ReshapePlace({3, 2}, transposed, {6}).has_value());
}

}  // namespace
}  // namespace sluice::graph

// Reference data movement against hand-written values and against index arithmetic.
#include "kernels/ref/movement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
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
template <class T>
std::vector<T> Iota(int64_t n) {
  std::vector<T> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), T(0));
  return v;
}

TEST(RefTranspose, EveryPermutationOfFourAxes) {
  const Shape from = {2, 3, 4, 5};
  const auto x = Iota<int32_t>(120);
  int p[4] = {0, 1, 2, 3};
  do {
    TransposeArgs args;
    Shape to = {from[p[0]], from[p[1]], from[p[2]], from[p[3]]};
    std::vector<int32_t> y;
    args.x = In(x, from);
    args.y = Out(y, to);
    for (int i = 0; i < 4; ++i) args.perm[i] = p[i];
    Transpose(args);
    size_t at = 0;
    for (int64_t a = 0; a < to[0]; ++a) {
      for (int64_t b = 0; b < to[1]; ++b) {
        for (int64_t c = 0; c < to[2]; ++c) {
          for (int64_t d = 0; d < to[3]; ++d) {
            int64_t index[4];
            index[p[0]] = a, index[p[1]] = b, index[p[2]] = c, index[p[3]] = d;
            ASSERT_EQ(y[at++], ((index[0] * 3 + index[1]) * 4 + index[2]) * 5 + index[3]);
          }
        }
      }
    }
  } while (std::next_permutation(p, p + 4));
}

TEST(RefConcat, SplitUndoesIt) {
  const auto a = Iota<int16_t>(4);
  const std::vector<int16_t> b = {10, 11}, empty;
  const ConstView inputs[] = {In(a, {2, 2}), In(empty, {2, 0}), In(b, {2, 1})};
  std::vector<int16_t> y, a2, b2;
  Concat({inputs, Out(y, {2, 3}), 1});
  EXPECT_EQ(y, (std::vector<int16_t>{0, 1, 10, 2, 3, 11}));
  const View outputs[] = {Out(a2, {2, 2}), Out(b2, {2, 1})};
  Split({In(y, {2, 3}), outputs, 1});
  EXPECT_EQ(a2, a);
  EXPECT_EQ(b2, b);
}

TEST(RefConcat, MovesByteStrings) {
  const std::string_view a[1] = {"x"}, b[2] = {"y", "z"};
  std::string_view y[3];
  const ConstView inputs[] = {{DType::kBytes, {1}, a}, {DType::kBytes, {2}, b}};
  Concat({inputs, {DType::kBytes, {3}, y}, 0});
  EXPECT_EQ(y[2], "z");
}

TEST(RefSlice, StepsForwardsAndBackwards) {
  const auto x = Iota<int64_t>(20);
  std::vector<int64_t> y;
  SliceArgs args{In(x, {4, 5}), Out(y, {2, 3}), {3, 0}, {-2, 2}};
  Slice(args);
  EXPECT_EQ(y, (std::vector<int64_t>{15, 17, 19, 5, 7, 9}));
}

TEST(RefPad, EveryModeFillsItsOwnWay) {
  const std::vector<int32_t> x = {1, 2, 3};
  std::vector<int32_t> y;
  const int32_t nine = 9;
  Pad({PadMode::kConstant, In(x, {3}), Out(y, {7}), {2}, &nine});
  EXPECT_EQ(y, (std::vector<int32_t>{9, 9, 1, 2, 3, 9, 9}));
  Pad({PadMode::kReflect, In(x, {3}), Out(y, {7}), {2}});
  EXPECT_EQ(y, (std::vector<int32_t>{3, 2, 1, 2, 3, 2, 1}));
  Pad({PadMode::kEdge, In(x, {3}), Out(y, {7}), {2}});
  EXPECT_EQ(y, (std::vector<int32_t>{1, 1, 1, 2, 3, 3, 3}));
  Pad({PadMode::kWrap, In(x, {3}), Out(y, {7}), {2}});
  EXPECT_EQ(y, (std::vector<int32_t>{2, 3, 1, 2, 3, 1, 2}));
  Pad({PadMode::kConstant, In(x, {3}), Out(y, {2}), {-1}});
  EXPECT_EQ(y, (std::vector<int32_t>{2, 3}));
}

TEST(RefTile, RepeatsEveryAxis) {
  const std::vector<uint8_t> x = {1, 2};
  std::vector<uint8_t> y;
  Tile({In(x, {2, 1}), Out(y, {4, 3})});
  EXPECT_EQ(y, (std::vector<uint8_t>{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2}));
}

TEST(RefExpand, RepeatsBroadcastAxes) {
  const std::vector<double> x = {1, 2};
  std::vector<double> y;
  Expand({In(x, {2, 1}), Out(y, {2, 2, 3})});
  EXPECT_EQ(y, (std::vector<double>{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2}));
}

TEST(RefDepthToSpace, SpaceToDepthUndoesIt) {
  const auto x = Iota<float>(2 * 8 * 2 * 3);
  std::vector<float> y, back;
  DepthToSpace({In(x, {2, 8, 2, 3}), Out(y, {2, 2, 4, 6}), 2, false});
  EXPECT_EQ(y[1], x[2 * 2 * 3]);      // column 1 of the block is the next depth group
  EXPECT_EQ(y[6], x[2 * 2 * 2 * 3]);  // row 1 of the block is two groups further
  SpaceToDepth({In(y, {2, 2, 4, 6}), Out(back, {2, 8, 2, 3}), 2});
  EXPECT_EQ(back, x);
  DepthToSpace({In(x, {2, 8, 2, 3}), Out(y, {2, 2, 4, 6}), 2, true});
  EXPECT_EQ(y[1], x[6]);
  EXPECT_EQ(y[6], x[12]);
}

TEST(RefTrilu, KeepsTheTriangleFromTheDiagonal) {
  const auto x = Iota<int32_t>(9);
  std::vector<int32_t> y;
  Trilu({In(x, {3, 3}), Out(y, {3, 3}), 1, true});
  EXPECT_EQ(y, (std::vector<int32_t>{0, 1, 2, 0, 0, 5, 0, 0, 0}));
  Trilu({In(x, {3, 3}), Out(y, {3, 3}), 0, false});
  EXPECT_EQ(y, (std::vector<int32_t>{0, 0, 0, 3, 4, 0, 6, 7, 8}));
}

TEST(RefEyeAndRange, CountAsAsked) {
  std::vector<int8_t> eye;
  Eye({Out(eye, {2, 3}), 1});
  EXPECT_EQ(eye, (std::vector<int8_t>{0, 1, 0, 0, 0, 1}));
  const std::vector<float> start = {1}, delta = {-0.5f};
  std::vector<float> y;
  Range({In(start, {}), In(delta, {}), Out(y, {3})});
  EXPECT_EQ(y, (std::vector<float>{1, 0.5f, 0}));
}

TEST(RefReverseSequence, ReversesEachLengthAndRefusesWrongOnes) {
  const auto x = Iota<int32_t>(6);
  std::vector<int32_t> y;
  const std::vector<int64_t> lengths = {3, 2}, wrong = {4, 1};
  ASSERT_TRUE(ReverseSequence({In(x, {3, 2}), In(lengths, {2}), Out(y, {3, 2}), 0, 1}).ok());
  EXPECT_EQ(y, (std::vector<int32_t>{4, 3, 2, 1, 0, 5}));
  EXPECT_FALSE(ReverseSequence({In(x, {3, 2}), In(wrong, {2}), Out(y, {3, 2}), 0, 1}).ok());
}

}  // namespace
}  // namespace sluice::kernels::ref

// Elementwise reference kernels against the C++ library and hand-written values.
#include "kernels/ref/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "tensor/float16.h"

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
  return {DTypeOf<T>, shape, data.data()};
}
template <class T>
std::vector<T> RunBinary(BinaryOp op, const std::vector<T>& a, const Shape& sa,
                         const std::vector<T>& b, const Shape& sb, const Shape& sy) {
  std::vector<T> y(static_cast<size_t>(sy.elements()));
  Binary({op, In(a, sa), In(b, sb), Out(y, sy)});
  return y;
}

TEST(RefUnary, FloatsMatchTheLibraryAcrossChunks) {
  std::vector<float> x(1001), y(1001);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) * 0.013f - 6.5f;
  Unary({UnaryOp::kTanh, In(x, {1001}), Out(y, {1001})});
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(y[i], static_cast<float>(std::tanh(static_cast<double>(x[i]))));
  }
}

TEST(RefUnary, ActivationsHaveTheirKnownValues) {
  EXPECT_DOUBLE_EQ(UnaryValue(UnaryOp::kGelu, 1.0, 0, 0), 0.8413447460685429);
  EXPECT_NEAR(UnaryValue(UnaryOp::kGeluTanh, 1.0, 0, 0), 0.8411919906082768, 1e-15);
  EXPECT_DOUBLE_EQ(UnaryValue(UnaryOp::kSigmoid, -800.0, 0, 0), 0.0);
  EXPECT_DOUBLE_EQ(UnaryValue(UnaryOp::kSoftplus, 800.0, 0, 0), 800.0);
  EXPECT_DOUBLE_EQ(UnaryValue(UnaryOp::kHardSwish, 1.0, 0, 0), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(UnaryValue(UnaryOp::kRound, 2.5, 0, 0), 2.0);
  EXPECT_DOUBLE_EQ(UnaryValue(UnaryOp::kRound, -1.5, 0, 0), -2.0);
  EXPECT_TRUE(std::isnan(UnaryValue(UnaryOp::kRelu, NAN, 0, 0)));
}

TEST(RefUnary, IntegersWrapAtTheirWidth) {
  const std::vector<int8_t> x = {-128, -1, 0, 127};
  std::vector<int8_t> y(4);
  Unary({UnaryOp::kAbs, In(x, {4}), Out(y, {4})});
  EXPECT_EQ(y, (std::vector<int8_t>{-128, 1, 0, 127}));
  Unary({UnaryOp::kBitwiseNot, In(x, {4}), Out(y, {4})});
  EXPECT_EQ(y, (std::vector<int8_t>{127, 0, -1, -128}));
}

TEST(RefUnary, IsInfSeesOnlyTheSignsAskedFor) {
  const std::vector<float> x = {INFINITY, -INFINITY, NAN, 1};
  bool y[4];
  Unary({UnaryOp::kIsInf, In(x, {4}), {DType::kBool, {4}, y}, 1, 0});
  EXPECT_FALSE(y[0]);
  EXPECT_TRUE(y[1]);
  EXPECT_FALSE(y[2]);
}

TEST(RefBinary, BroadcastsBothSides) {
  EXPECT_EQ(RunBinary<int32_t>(BinaryOp::kAdd, {10, 20}, {2, 1}, {1, 2, 3}, {3}, {2, 3}),
            (std::vector<int32_t>{11, 12, 13, 21, 22, 23}));
  EXPECT_EQ(RunBinary<int32_t>(BinaryOp::kSub, {5}, {}, {1, 2, 3, 4}, {2, 1, 2}, {2, 1, 2}),
            (std::vector<int32_t>{4, 3, 2, 1}));
}

TEST(RefBinary, BroadcastsTheMiddleAxis) {
  EXPECT_EQ(
      RunBinary<int64_t>(BinaryOp::kMul, {1, 2, 3, 4}, {2, 1, 2}, {10, 100}, {2, 1}, {2, 2, 2}),
      (std::vector<int64_t>{10, 20, 100, 200, 30, 40, 300, 400}));
}

TEST(RefBinary, IntegerDivisionNeverTraps) {
  const int32_t low = std::numeric_limits<int32_t>::min();
  EXPECT_EQ(RunBinary<int32_t>(BinaryOp::kDiv, {7, -7, 5, low}, {4}, {2, 2, 0, -1}, {4}, {4}),
            (std::vector<int32_t>{3, -3, 0, low}));
  const int64_t low64 = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(RunBinary<int64_t>(BinaryOp::kDiv, {low64, 1}, {2}, {-1, 0}, {2}, {2}),
            (std::vector<int64_t>{low64, 0}));
  EXPECT_EQ(RunBinary<int64_t>(BinaryOp::kMod, {low64, -7, 7, 3}, {4}, {-1, 3, -3, 0}, {4}, {4}),
            (std::vector<int64_t>{0, 2, -2, 0}));
  EXPECT_EQ(RunBinary<int64_t>(BinaryOp::kFmod, {-7, 7}, {2}, {3, -3}, {2}, {2}),
            (std::vector<int64_t>{-1, 1}));
}

TEST(RefBinary, PowerOfIntegersIsExactAndTakesFloatExponents) {
  EXPECT_EQ(RunBinary<int64_t>(BinaryOp::kPow, {3, 2, 2, -1}, {4}, {39, 62, -1, -3}, {4}, {4}),
            (std::vector<int64_t>{4052555153018976267, int64_t{1} << 62, 0, -1}));
  const std::vector<int32_t> base = {4, 9};
  const std::vector<float> half = {0.5f};
  std::vector<int32_t> y(2);
  Binary({BinaryOp::kPow, In(base, {2}), In(half, {1}), Out(y, {2})});
  EXPECT_EQ(y, (std::vector<int32_t>{2, 3}));
}

TEST(RefBinary, MinAndMaxKeepNaN) {
  const auto y = RunBinary<float>(BinaryOp::kMax, {NAN, 1, 2}, {3}, {1, NAN, 3}, {3}, {3});
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_TRUE(std::isnan(y[1]));
  EXPECT_EQ(y[2], 3);
}

TEST(RefBinary, ShiftsBeyondTheWidthGiveZero) {
  EXPECT_EQ(RunBinary<uint8_t>(BinaryOp::kShiftLeft, {3, 3, 255}, {3}, {1, 8, 200}, {3}, {3}),
            (std::vector<uint8_t>{6, 0, 0}));
}

TEST(RefBinary, EqualComparesByteStrings) {
  const std::string_view a[2] = {"red", "blue"};
  const std::string_view b[1] = {"blue"};
  bool y[2];
  Binary(
      {BinaryOp::kEqual, {DType::kBytes, {2}, a}, {DType::kBytes, {1}, b}, {DType::kBool, {2}, y}});
  EXPECT_FALSE(y[0]);
  EXPECT_TRUE(y[1]);
}

TEST(RefVariadic, MeanBroadcastsItsInputs) {
  const std::vector<float> a = {1, 2}, b = {10}, c = {4, 6, 8, 10};
  const ConstView inputs[] = {In(a, {2}), In(b, {1, 1}), In(c, {2, 2})};
  std::vector<float> y(4);
  Variadic({VariadicOp::kMean, inputs, Out(y, {2, 2})});
  EXPECT_EQ(y, (std::vector<float>{5, 6, 19.0f / 3, 22.0f / 3}));
}

TEST(RefWhere, PicksPerElementWithBroadcast) {
  const bool condition[2] = {true, false};
  const std::vector<int16_t> a = {1, 2, 3, 4}, b = {9};
  std::vector<int16_t> y(4);
  Where({{DType::kBool, {2, 1}, condition}, In(a, {2, 2}), In(b, {}), Out(y, {2, 2})});
  EXPECT_EQ(y, (std::vector<int16_t>{1, 2, 9, 9}));
}

TEST(RefClip, BoundsAreOptional) {
  const std::vector<int64_t> x = {-5, 0, 5}, lo = {-1};
  std::vector<int64_t> y(3);
  Clip({In(x, {3}), In(lo, {}), {}, Out(y, {3})});
  EXPECT_EQ(y, (std::vector<int64_t>{-1, 0, 5}));
}

TEST(RefCast, SaturatesTruncatesAndWraps) {
  const std::vector<float> x = {1e20f, -1e20f, NAN, -1.9f};
  std::vector<int32_t> y(4);
  Cast({In(x, {4}), Out(y, {4})});
  EXPECT_EQ(y, (std::vector<int32_t>{std::numeric_limits<int32_t>::max(),
                                     std::numeric_limits<int32_t>::min(), 0, -1}));
  const std::vector<int32_t> wide = {300, -1};
  std::vector<uint8_t> narrow(2);
  Cast({In(wide, {2}), Out(narrow, {2})});
  EXPECT_EQ(narrow, (std::vector<uint8_t>{44, 255}));
}

TEST(RefCast, RoundsOnceFromDoubleToHalf) {
  // 1 + 2^-11 + 2^-30 is above the tie between 1 and 1 + 2^-10; rounding to float first would lose
  // that.
  const std::vector<double> x = {1 + std::ldexp(1.0, -11) + std::ldexp(1.0, -30),
                                 1 + std::ldexp(1.0, -11)};
  std::vector<tensor::F16> y(2);
  Cast({In(x, {2}), Out(y, {2})});
  EXPECT_EQ(y[0].bits, 0x3c01);
  EXPECT_EQ(y[1].bits, 0x3c00);
}

}  // namespace
}  // namespace sluice::kernels::ref

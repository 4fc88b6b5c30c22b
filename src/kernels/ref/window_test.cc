// Reference convolutions, pools, resizes and quantisation against direct index arithmetic and known
// values.
#include "kernels/ref/window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ref/quantize.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DTypeOf;
using tensor::Shape;
using Floats = std::vector<float>;

template <class T>
ConstView In(const std::vector<T>& data, const Shape& shape) {
  return {DTypeOf<T>, shape, data.data()};
}
template <class T>
View Out(std::vector<T>& data, const Shape& shape) {
  data.assign(static_cast<size_t>(shape.elements()), T(99));
  return {DTypeOf<T>, shape, data.data()};
}
Floats Ramp(int64_t n) {
  Floats v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i * 7 % 23) - 11;
  return v;
}

// x [2, 4, 7, 300], 6 outputs in 2 groups, kernel 3x2, stride 2x1, dilation 1x2, pad 1x1: wider
// than a run of lanes.
TEST(RefConv, MatchesTheDefinition) {
  const Shape xs = {2, 4, 7, 300}, ws = {6, 2, 3, 2}, ys = {2, 6, 4, 300};
  const auto x = Ramp(xs.elements()), w = Ramp(ws.elements());
  const Floats bias = {1, 2, 3, 4, 5, 6};
  Floats y;
  Window window{{3, 2}, {2, 1}, {1, 2}, {1, 1}};
  Conv({In(x, xs), In(w, ws), In(bias, {6}), Out(y, ys), window, 2});
  size_t at = 0;
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t m = 0; m < 6; ++m) {
      for (int64_t i = 0; i < 4; ++i) {
        for (int64_t j = 0; j < 300; ++j) {
          float want = bias[static_cast<size_t>(m)];
          for (int64_t c = 0; c < 2; ++c) {
            for (int64_t p = 0; p < 3; ++p) {
              for (int64_t q = 0; q < 2; ++q) {
                const int64_t a = i * 2 - 1 + p, b = j - 1 + q * 2;
                if (a < 0 || a >= 7 || b < 0 || b >= 300) continue;
                want += x[static_cast<size_t>(((n * 4 + m / 3 * 2 + c) * 7 + a) * 300 + b)] *
                        w[static_cast<size_t>(((m * 2 + c) * 3 + p) * 2 + q)];
              }
            }
          }
          ASSERT_EQ(y[at++], want) << n << " " << m << " " << i << " " << j;
        }
      }
    }
  }
}

TEST(RefConv, IntegersSubtractZeroPointsOnlyInside) {
  const std::vector<uint8_t> x = {2, 3, 4}, w = {1, 1}, zero = {1};
  std::vector<int32_t> y;
  ConvArgs args;
  args.x = In(x, {1, 1, 3});
  args.weight = In(w, {1, 1, 2});
  args.x_zero = In(zero, {});
  args.y = Out(y, {1, 1, 4});
  args.window.kernel[0] = 2;
  args.window.pad[0] = 1;
  Conv(args);
  EXPECT_EQ(y, (std::vector<int32_t>{1, 3, 5, 3}));
}

TEST(RefConvTranspose, ScattersEachInput) {
  const Floats x = {1, 2, 3}, w = {1, 10, 100};
  Floats y;
  ConvTransposeArgs args;
  args.x = In(x, {1, 1, 3});
  args.weight = In(w, {1, 1, 3});
  args.y = Out(y, {1, 1, 6});
  args.window = {{3}, {2}, {1}, {1}};
  ConvTranspose(args);
  EXPECT_EQ(y, (Floats{10, 102, 20, 203, 30, 300}));
}

TEST(RefPool, MaxReportsPositionsAndIgnoresPads) {
  const Floats x = {-1, -5, -3, -2, -4, -6, -9, -8, -7};
  Floats y;
  std::vector<int64_t> indices;
  PoolArgs args;
  args.x = In(x, {1, 1, 3, 3});
  args.y = Out(y, {1, 1, 2, 2});
  args.indices = Out(indices, {1, 1, 2, 2});
  args.window = {{2, 2}, {2, 2}, {1, 1}, {1, 1}};
  Pool(args);
  EXPECT_EQ(y, (Floats{-1, -3, -2, -4}));
  EXPECT_EQ(indices, (std::vector<int64_t>{0, 2, 3, 4}));
  args.column_major = true;
  Pool(args);
  EXPECT_EQ(indices, (std::vector<int64_t>{0, 6, 1, 4}));
}

TEST(RefPool, AverageCountsPadsOnlyWhenAsked) {
  const Floats x = {1, 2, 3, 4};
  Floats y;
  PoolArgs args;
  args.op = PoolOp::kAverage;
  args.x = In(x, {1, 1, 4});
  args.y = Out(y, {1, 1, 3});
  args.window = {{3}, {2}, {1}, {1}};
  args.pad_end[0] = 1;
  Pool(args);
  EXPECT_EQ(y, (Floats{1.5f, 3, 4}));
  args.include_pad = true;  // the third window, 3 to 5, ends one behind the pad
  Pool(args);
  EXPECT_EQ(y, (Floats{1, 3, 2}));
}

TEST(RefResize, NearestAndLinearHaveTheirKnownValues) {
  const Floats x = {1, 2, 3, 4};
  Floats y;
  ResizeArgs args;
  args.coordinate = ResizeCoordinate::kAsymmetric;
  args.rounding = ResizeRounding::kFloor;
  args.x = In(x, {2, 2});
  args.y = Out(y, {2, 4});
  args.scale[1] = 2;
  Resize(args);
  EXPECT_EQ(y, (Floats{1, 1, 2, 2, 3, 3, 4, 4}));
  args.mode = ResizeMode::kLinear;
  args.coordinate = ResizeCoordinate::kHalfPixel;
  Resize(args);
  EXPECT_EQ(y, (Floats{1, 1.25f, 1.75f, 2, 3, 3.25f, 3.75f, 4}));
  args.coordinate = ResizeCoordinate::kAlignCorners;
  Resize(args);
  EXPECT_FLOAT_EQ(y[1], 1 + 1.0f / 3);
}

TEST(RefResize, CubicReproducesALineInside) {
  Floats x(12);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  Floats y;
  ResizeArgs args;
  args.mode = ResizeMode::kCubic;
  args.cubic_a = -0.5;
  args.x = In(x, {12});
  args.y = Out(y, {24});
  args.scale[0] = 2;
  Resize(args);
  for (size_t i = 6; i < 18; ++i) EXPECT_NEAR(y[i], (static_cast<double>(i) + 0.5) / 2 - 0.5, 1e-6);
}

TEST(RefResize, RegionsAndScalesThatAreNoNumbersStayInside) {
  const Floats x = {1, 2, 3, 4};
  for (const ResizeMode mode : {ResizeMode::kNearest, ResizeMode::kLinear, ResizeMode::kCubic}) {
    Floats y;
    ResizeArgs args;
    args.mode = mode;
    args.coordinate = ResizeCoordinate::kTfCropAndResize;
    args.x = In(x, {4});
    args.y = Out(y, {3});
    args.scale[0] = 0.75;
    args.roi_begin[0] = NAN;
    args.extrapolation = 7;
    Resize(args);
    EXPECT_EQ(y, (Floats{7, 7, 7}));
    args.coordinate = ResizeCoordinate::kHalfPixel;
    args.scale[0] = NAN;
    Resize(args);
    args.scale[0] = 1e-300;
    args.antialias = true;
    Resize(args);
  }
}

TEST(RefQuantizeLinear, RoundsHalfToEvenAndSaturates) {
  const Floats x = {0, 1, 3, 5, 1000, -1000, NAN}, scale = {2};
  const std::vector<uint8_t> zero = {128};
  std::vector<uint8_t> y;
  QuantizeLinear({In(x, {7}), In(scale, {}), In(zero, {}), Out(y, {7}), {}});
  EXPECT_EQ(y, (std::vector<uint8_t>{128, 128, 130, 130, 255, 0, 128}));
}

TEST(RefDequantizeLinear, FollowsAxisAndBlocks) {
  const std::vector<int8_t> x = {1, 2, 3, 4, 5, 6}, zero = {0, 1};
  const Floats per_row = {1, 10}, blocks = {1, 2, 3, 4};
  Floats y;
  DequantizeLinear({In(x, {2, 3}), In(per_row, {2}), In(zero, {2}), Out(y, {2, 3}), {0, 0}});
  EXPECT_EQ(y, (Floats{1, 2, 3, 30, 40, 50}));
  DequantizeLinear({In(x, {2, 3}), In(blocks, {2, 2}), {}, Out(y, {2, 3}), {1, 2}});
  EXPECT_EQ(y, (Floats{1, 2, 6, 12, 15, 24}));
}

TEST(RefDynamicQuantize, RangeAlwaysHoldsZero) {
  const Floats x = {1, 2, 51};
  std::vector<uint8_t> y, zero;
  Floats scale;
  DynamicQuantize({In(x, {3}), Out(y, {3}), Out(scale, {}), Out(zero, {})});
  EXPECT_FLOAT_EQ(scale[0], 0.2f);
  EXPECT_EQ(zero[0], 0);
  EXPECT_EQ(y, (std::vector<uint8_t>{5, 10, 255}));
}

}  // namespace
}  // namespace sluice::kernels::ref

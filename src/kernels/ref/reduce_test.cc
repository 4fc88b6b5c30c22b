// Reference reductions, softmax and normalisations against hand-written values and a direct
// formula.
#include "kernels/ref/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/ref/norm.h"

namespace sluice::kernels::ref {
namespace {

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
std::vector<T> RunReduce(ReduceOp op, const std::vector<T>& x, const Shape& shape, uint32_t axes,
                         const Shape& out) {
  std::vector<T> y(static_cast<size_t>(out.elements()));
  Reduce({op, In(x, shape), Out(y, out), axes});
  return y;
}

TEST(RefReduce, FoldsAnySetOfAxes) {
  const std::vector<int32_t> x = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  EXPECT_EQ(RunReduce(ReduceOp::kSum, x, {2, 3, 2}, 0b010, {2, 2}),
            (std::vector<int32_t>{9, 12, 27, 30}));
  EXPECT_EQ(RunReduce(ReduceOp::kSum, x, {2, 3, 2}, 0b101, {3}),
            (std::vector<int32_t>{18, 26, 34}));
  EXPECT_EQ(RunReduce(ReduceOp::kMax, x, {2, 3, 2}, 0b111, {}), (std::vector<int32_t>{12}));
  EXPECT_EQ(RunReduce(ReduceOp::kSum, x, {12}, 0, {12}), x);
}

TEST(RefReduce, FloatOpsMatchTheirFormulas) {
  const std::vector<float> x = {1, -2, 3};
  EXPECT_EQ(RunReduce(ReduceOp::kL1, x, {3}, 1, {})[0], 6);
  EXPECT_FLOAT_EQ(RunReduce(ReduceOp::kL2, x, {3}, 1, {})[0], std::sqrt(14.0f));
  EXPECT_EQ(RunReduce(ReduceOp::kProd, x, {3}, 1, {})[0], -6);
  EXPECT_EQ(RunReduce(ReduceOp::kSumSquare, x, {3}, 1, {})[0], 14);
  EXPECT_FLOAT_EQ(RunReduce<float>(ReduceOp::kLogSumExp, {1000, 1000}, {2}, 1, {})[0],
                  1000 + std::log(2.0f));
}

TEST(RefReduce, EmptySetsGiveTheNeutralElement) {
  EXPECT_EQ(RunReduce<float>(ReduceOp::kSum, {}, {0, 2}, 1, {2}), (std::vector<float>{0, 0}));
  EXPECT_EQ(RunReduce<float>(ReduceOp::kProd, {}, {0}, 1, {})[0], 1);
  EXPECT_EQ(RunReduce<float>(ReduceOp::kMax, {}, {0}, 1, {})[0], -INFINITY);
  EXPECT_EQ(RunReduce<int8_t>(ReduceOp::kMin, {}, {0}, 1, {})[0], 127);
  // Of the mean, which has none, 0: what ONNX Runtime says, and PyTorch of a bag without rows.
  EXPECT_EQ(RunReduce<float>(ReduceOp::kMean, {}, {0}, 1, {})[0], 0);
}

TEST(RefArgReduce, TiesGoToTheFirstOrTheLast) {
  const std::vector<float> x = {2, 7, 7, 1, 1, 2};
  std::vector<int64_t> y(2);
  ArgReduce({In(x, {2, 3}), Out(y, {2}), 1, true, false});
  EXPECT_EQ(y, (std::vector<int64_t>{1, 2}));
  ArgReduce({In(x, {2, 3}), Out(y, {2}), 1, false, true});
  EXPECT_EQ(y, (std::vector<int64_t>{0, 1}));
  ArgReduce({In(std::vector<float>{2, 7, 7, 1}, {4}), Out(y, {1}), 0, true, true});
  EXPECT_EQ(y[0], 2);
}

TEST(RefArgReduce, NaNWins) {
  const std::vector<float> x = {2, NAN, 9, NAN};
  std::vector<int64_t> y(1);
  ArgReduce({In(x, {4}), Out(y, {1}), 0, true, false});
  EXPECT_EQ(y[0], 1);
  ArgReduce({In(x, {4}), Out(y, {1}), 0, false, true});
  EXPECT_EQ(y[0], 3);
}

TEST(RefCumulative, RunsForwardsBackwardsAndExclusively) {
  const std::vector<int32_t> x = {1, 2, 3, 4, 5, 6};
  std::vector<int32_t> y(6);
  Cumulative({In(x, {2, 3}), Out(y, {2, 3}), 1});
  EXPECT_EQ(y, (std::vector<int32_t>{1, 3, 6, 4, 9, 15}));
  Cumulative({In(x, {2, 3}), Out(y, {2, 3}), 0, true, true});
  EXPECT_EQ(y, (std::vector<int32_t>{4, 5, 6, 0, 0, 0}));
}

TEST(RefSoftmax, RowsSumToOneAlongAnyAxis) {
  const std::vector<float> x = {1, 1000, 2, 1000, 3, 1000};
  std::vector<float> y(6);
  Softmax({SoftmaxOp::kSoftmax, In(x, {3, 2}), Out(y, {3, 2}), 0});
  EXPECT_FLOAT_EQ(y[0] + y[2] + y[4], 1);
  EXPECT_FLOAT_EQ(y[1], 1.0f / 3);
  EXPECT_FLOAT_EQ(y[4] / y[2], std::exp(1.0f));
  Softmax({SoftmaxOp::kHardmax, In(x, {3, 2}), Out(y, {3, 2}), 0});
  EXPECT_EQ(y, (std::vector<float>{0, 1, 0, 0, 1, 0}));
}

TEST(RefLayerNorm, NormalisesRowsAndReportsMoments) {
  const std::vector<float> x = {1, 3, 2, 6}, scale = {2, 1}, bias = {0, 5};
  std::vector<float> y(4), mean(2), inv(2);
  LayerNorm({In(x, {2, 2}), In(scale, {2}), In(bias, {2}), Out(y, {2, 2}), Out(mean, {2, 1}),
             Out(inv, {2, 1}), -1, 0});
  EXPECT_EQ(y, (std::vector<float>{-2, 6, -2, 6}));
  EXPECT_EQ(mean, (std::vector<float>{2, 4}));
  EXPECT_EQ(inv, (std::vector<float>{1, 0.5}));
}

TEST(RefGroupNorm, TakesParametersPerChannelAndPerGroup) {
  const std::vector<float> x = {1, 3, 5, 9}, per_channel = {1, 2, 1, 2}, per_group = {1, 3},
                           zero4(4), zero2(2);
  std::vector<float> y(4);
  GroupNorm({In(x, {1, 4, 1}), In(per_channel, {4}), In(zero4, {4}), Out(y, {1, 4, 1}), 2, 0});
  EXPECT_EQ(y, (std::vector<float>{-1, 2, -1, 2}));
  GroupNorm({In(x, {1, 4, 1}), In(per_group, {2}), In(zero2, {2}), Out(y, {1, 4, 1}), 2, 0});
  EXPECT_EQ(y, (std::vector<float>{-1, 1, -3, 3}));
}

TEST(RefBatchNorm, TrainingMovesTheRunningMoments) {
  const std::vector<float> x = {1, 3}, one = {1}, zero = {0};
  std::vector<float> y(2), mean(1), var(1);
  BatchNorm({In(x, {2, 1}), In(one, {1}), In(zero, {1}), In(zero, {1}), In(one, {1}),
             Out(y, {2, 1}), 0, true, 0.5, Out(mean, {1}), Out(var, {1})});
  EXPECT_EQ(y, (std::vector<float>{-1, 1}));
  EXPECT_EQ(mean[0], 1);
  EXPECT_EQ(var[0], 1);
}

TEST(RefLpNorm, ZeroRowsStayZero) {
  const std::vector<float> x = {3, 4, 0, 0};
  std::vector<float> y(4);
  LpNorm({In(x, {2, 2}), Out(y, {2, 2}), 1, 2});
  EXPECT_EQ(y, (std::vector<float>{0.6f, 0.8f, 0, 0}));
}

TEST(RefLrn, WindowIsClippedAtTheChannels) {
  const std::vector<float> x = {1, 2, 3};
  std::vector<float> y(3);
  Lrn({In(x, {1, 3, 1}), Out(y, {1, 3, 1}), 3, 3, 1, 1});
  EXPECT_FLOAT_EQ(y[0], 1.0f / 6);
  EXPECT_FLOAT_EQ(y[1], 2.0f / 15);
  EXPECT_FLOAT_EQ(y[2], 3.0f / 14);
}

}  // namespace
}  // namespace sluice::kernels::ref

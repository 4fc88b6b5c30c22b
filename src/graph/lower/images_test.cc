// Convolutional graphs compiled against the interpreter, and what the passes make of them.
#include "graph/lower/images.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "graph/interpreter.h"
#include "graph/test_graph.h"
#include "graph/test_values.h"

namespace sluice::graph {
namespace {

using tensor::Shape;
using tensor::Tensor;

// The reference kernels of the interpreter are the oracle.
void ExpectSame(TestGraph& g, const Shape& input, const Model& model) {
  const std::vector<Tensor> inputs = {Random(input, 7)};
  const std::vector<Tensor> expected = Interpreter(g.graph()).Run(inputs).value();
  const std::vector<Tensor> actual = RunCompiled(model, inputs).value();
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(actual[i].shape, expected[i].shape);
    for (int64_t k = 0; k < expected[i].shape.elements(); ++k) {
      const double want = ValueAt(expected[i].view(), k);
      ASSERT_NEAR(ValueAt(actual[i].view(), k), want, 1e-4 * (1 + std::abs(want))) << i << " " << k;
    }
  }
}

std::shared_ptr<const Model> CompileAndCompare(TestGraph& g, const Shape& input) {
  std::shared_ptr<const Model> model = g.Compile();
  ExpectSame(g, input, *model);
  return model;
}

using Ints = std::vector<int64_t>;

Value* BatchNorm(TestGraph& g, Value* x, int64_t channels) {
  std::vector<float> positive(static_cast<size_t>(channels), 0.75F);
  return g.Add("BatchNormalization", {x, g.Weights({channels}), g.Weights({channels}),
                                      g.Weights({channels}), g.Floats({channels}, positive)});
}

TEST(Images, AResidualBlockBecomesTwoConvolutions) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("batch"), Dim(16), Dim(9), Dim(7)});
  Value* y = g.Add("Conv", {x, g.Weights({24, 16, 3, 3})}, {{"pads", Ints{1, 1, 1, 1}}});
  y = g.Add("Relu", {BatchNorm(g, y, 24)});
  y = g.Add("Conv", {y, g.Weights({16, 24, 3, 3}), g.Weights({16})}, {{"pads", Ints{1, 1, 1, 1}}});
  y = g.Add("Relu", {g.Add("Add", {BatchNorm(g, y, 16), x})});
  g.Output("y", y);
  const auto model = CompileAndCompare(g, {3, 16, 9, 7});
  EXPECT_EQ(CountOps(*model, "sluice.FusedConv"), 2);
  EXPECT_EQ(CountOps(*model, "BatchNormalization"), 0);
  EXPECT_EQ(CountOps(*model, "Relu") + CountOps(*model, "sluice.FusedChain"), 0);
}

TEST(Images, DepthwiseGroupedAndPointwiseConvolutionsAgree) {
  TestGraph g;
  Value* y = g.Input("x", {Dim(2), Dim(12), Dim(10), Dim(11)});
  y = g.Add("Conv", {y, g.Weights({12, 1, 5, 5}), g.Weights({12})},
            {{"pads", Ints{2, 2, 2, 2}}, {"group", int64_t{12}}, {"strides", Ints{2, 1}}});
  y = g.Add("HardSwish", {y});
  y = g.Add("Conv", {y, g.Weights({18, 4, 3, 2})},
            {{"group", int64_t{3}}, {"auto_pad", "SAME_UPPER"}});
  y = g.Add("Clip", {y, g.Scalar(0), g.Scalar(6)});
  y = g.Add("Conv", {y, g.Weights({20, 18, 1, 1}), g.Weights({20})});
  Value* gate = g.Add("Sigmoid", {y});
  g.Output("y", g.Add("Mul", {gate, y}));
  const auto model = CompileAndCompare(g, {2, 12, 10, 11});
  EXPECT_EQ(CountOps(*model, "sluice.FusedConv"), 3);
  EXPECT_EQ(CountOps(*model, "Mul") + CountOps(*model, "Clip"), 0);
}

TEST(Images, ChannelGatesConcatenationsAndPoolsStayChannelsLast) {
  TestGraph g;
  Value* x = g.Input("x", {Dim(2), Dim(3), Dim(12), Dim(12)});
  Value* y = g.Add("Conv", {x, g.Weights({16, 3, 3, 3})});
  Value* gate = g.Add("GlobalAveragePool", {y});
  gate = g.Add("Relu", {g.Add("Conv", {gate, g.Weights({4, 16, 1, 1})})});
  gate = g.Add("HardSigmoid", {g.Add("Conv", {gate, g.Weights({16, 4, 1, 1})})});
  y = g.Add("Mul", {y, gate});
  Value* left = g.Add("MaxPool", {y}, {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}});
  Value* right = g.Add("AveragePool", {y},
                       {{"kernel_shape", Ints{3, 2}},
                        {"strides", Ints{2, 2}},
                        {"pads", Ints{0, 0, 0, 0}},
                        {"ceil_mode", int64_t{0}}});
  right = g.Add("Slice", {right, g.Ints({0, 0}), g.Ints({4, 4}), g.Ints({2, 3})});
  left = g.Add("Slice", {left, g.Ints({0, 0}), g.Ints({4, 4}), g.Ints({2, 3})});
  y = g.Add("Concat", {left, right}, {{"axis", int64_t{1}}});
  y = g.Add("Conv", {y, g.Weights({8, 32, 1, 1})});
  g.Output("maps", y);
  g.Output("flat", g.Add("Flatten", {g.Add("GlobalMaxPool", {y})}));
  CompileAndCompare(g, {2, 3, 12, 12});
}

TEST(Images, OneSpatialAxisIsAnImageOfOneRow) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("batch"), g.Symbol("length"), Dim(8)});
  Value* y = g.Add("Transpose", {x}, {{"perm", Ints{0, 2, 1}}});
  y = g.Add("Conv", {y, g.Weights({12, 8, 3}), g.Weights({12})},
            {{"pads", Ints{2, 0}}, {"dilations", Ints{2}}});
  y = g.Add("Tanh", {y});
  y = g.Add("MaxPool", {y}, {{"kernel_shape", Ints{2}}, {"strides", Ints{2}}});
  g.Output("y", y);
  g.Output("mean", g.Add("ReduceMean", {y}, {{"axes", Ints{2}}, {"keepdims", int64_t{0}}}));
  CompileAndCompare(g, {3, 21, 8});
}

TEST(Images, AnImageGivesTheSameBitsAloneAndInABatch) {
  TestGraph g;
  Value* y = g.Input("x", {g.Symbol("batch"), Dim(5), Dim(8), Dim(8)});
  y = g.Add("Relu", {g.Add("Conv", {y, g.Weights({33, 5, 3, 3}), g.Weights({33})})});
  y = g.Add("Conv", {y, g.Weights({7, 33, 3, 3})}, {{"strides", Ints{2, 2}}});
  g.Output("y", g.Add("GlobalAveragePool", {y}));
  const auto model = g.Compile();
  ASSERT_TRUE(model->batchability().joinable) << model->batchability().reason;
  const Tensor all = Random({7, 5, 8, 8}, 9);
  const Tensor together = RunCompiled(*model, {all})->at(0);
  for (int64_t b = 0; b < 7; ++b) {
    Tensor one = Random({1, 5, 8, 8}, 9);
    std::copy_n(all.view().as<float>() + b * 320, 320, one.mutable_view().as<float>());
    const Tensor alone = RunCompiled(*model, {one})->at(0);
    for (int64_t c = 0; c < 7; ++c) {
      EXPECT_EQ(alone.view().as<float>()[c], together.view().as<float>()[b * 7 + c]);
    }
  }
}

TEST(Images, AWrongChannelCountIsRefusedByName) {
  TestGraph g;
  Value* x = g.Input("x", {Dim(1), g.Symbol("channels"), Dim(4), Dim(4)});
  g.Output("y", g.Add("Conv", {x, g.Weights({2, 3, 1, 1})}));
  const auto model = g.Compile();
  const auto result = RunCompiled(*model, {Random({1, 5, 4, 4}, 1)});
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("channels"), std::string::npos) << result.error().message;
  EXPECT_TRUE(RunCompiled(*model, {Random({1, 3, 4, 4}, 1)}).ok());
}

TEST(Images, ABatchNormAloneBecomesElementwiseAndBehindAGemmGoesIntoIt) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("batch"), Dim(10)});
  Value* y = BatchNorm(g, x, 10);
  y = g.Add("Gemm", {y, g.Weights({6, 10}), g.Weights({6})}, {{"transB", int64_t{1}}});
  g.Output("y", g.Add("Relu", {BatchNorm(g, y, 6)}));
  const auto model = CompileAndCompare(g, {5, 10});
  EXPECT_EQ(CountOps(*model, "BatchNormalization"), 0);
  EXPECT_EQ(CountOps(*model, "sluice.FusedLinear"), 1);
  EXPECT_EQ(CountOps(*model, "sluice.FusedChain"), 1);
}

}  // namespace
}  // namespace sluice::graph

// An If over extents disappears; one over data stays and says so.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "graph/onnx/model_builder.h"
#include "graph/test_graph.h"

namespace sluice::graph {
namespace {

constexpr int kFloat = onnx::TensorProto::FLOAT;
constexpr int kBool = onnx::TensorProto::BOOL;

void Branch(onnx::NodeProto* choice, const char* name, const char* op, const char* reads) {
  onnx::GraphProto* body = OnnxModelBuilder::Body(choice, name);
  body->set_name(name);
  const std::string made = std::string(name) + "_y";
  OnnxModelBuilder::NodeIn(body->mutable_node(), op, {reads}, {made});
  OnnxModelBuilder::Describe(body->add_output(), made, kFloat, {});
  body->mutable_output(0)->mutable_type()->mutable_tensor_type()->clear_shape();
}

// y = choice ? -x : |x|, where the choice is whether x and relu(x) have different numbers of rows.
std::string AsksForRows() {
  OnnxModelBuilder builder;
  OnnxModelBuilder::NameDim(builder.Input("x", kFloat, {-1, 3}), 0, "rows");
  builder.Ints("first", {0});
  builder.Node("Relu", {"x"}, {"r"});
  builder.Node("Shape", {"x"}, {"x_shape"});
  builder.Node("Gather", {"x_shape", "first"}, {"x_rows"});
  builder.Node("Shape", {"r"}, {"r_shape"});
  builder.Node("Gather", {"r_shape", "first"}, {"r_rows"});
  builder.Node("Equal", {"x_rows", "r_rows"}, {"same"});
  builder.Node("Not", {"same"}, {"different"});
  onnx::NodeProto* choice = builder.Node("If", {"different"}, {"y"});
  Branch(choice, "then_branch", "Neg", "x");
  Branch(choice, "else_branch", "Abs", "x");
  builder.Node("Exp", {"y"}, {"z"});
  builder.Output("z", kFloat, {-1, 3});
  return builder.Bytes();
}

TEST(InlineBranchesTest, AQuestionAboutExtentsIsAnsweredBeforeAnythingRuns) {
  const auto model = Model::LoadBytes(AsksForRows(), {});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_FALSE((*model)->interpreted()) << (*model)->interpreted_reason();
  EXPECT_EQ(CountOps(**model, "If"), 0);
  tensor::Tensor x =
      tensor::Tensor::Allocate(tensor::DType::kF32, tensor::Shape({1, 3}), 1 << 10).value();
  const float values[] = {-1, 0, 2};
  std::copy(std::begin(values), std::end(values), x.mutable_view().as<float>());
  const auto z = RunCompiled(**model, {x});
  ASSERT_TRUE(z.ok()) << z.error().message;
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR((*z)[0].view().as<float>()[i], std::exp(std::abs(values[i])), 1e-5) << i;
  }
}

TEST(InlineBranchesTest, AQuestionAboutDataStaysAndIsNamed) {
  OnnxModelBuilder builder;
  builder.Input("x", kFloat, {2, 3});
  builder.Input("c", kBool, {});
  onnx::NodeProto* choice = builder.Node("If", {"c"}, {"y"});
  Branch(choice, "then_branch", "Neg", "x");
  Branch(choice, "else_branch", "Abs", "x");
  builder.Output("y", kFloat, {2, 3});
  const auto model = Model::LoadBytes(builder.Bytes(), {});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_TRUE((*model)->interpreted());
  EXPECT_NE((*model)->interpreted_reason().find("If"), std::string::npos);
}

}  // namespace
}  // namespace sluice::graph

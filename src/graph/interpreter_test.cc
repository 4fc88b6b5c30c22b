#include "graph/interpreter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/onnx/model_builder.h"
#include "graph/onnx/reader.h"

namespace sluice::graph {
namespace {

using Builder = OnnxModelBuilder;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kFloat = onnx::TensorProto::FLOAT;
constexpr int kInt64 = onnx::TensorProto::INT64;
constexpr int kBool = onnx::TensorProto::BOOL;

template <class T>
Tensor Of(const Shape& shape, const std::vector<T>& values) {
  Tensor tensor = *Tensor::Allocate(tensor::DTypeOf<T>, shape, INT64_MAX);
  std::copy(values.begin(), values.end(), tensor.mutable_view().as<T>());
  return tensor;
}
Tensor OfBool(bool value) {
  Tensor tensor = *Tensor::Allocate(DType::kBool, Shape(), 1);
  tensor.mutable_view().as<bool>()[0] = value;
  return tensor;
}

template <class T>
std::vector<T> ValuesOf(const Tensor& tensor) {
  const std::span<const T> span = tensor.view().span<T>();
  return {span.begin(), span.end()};
}

OnnxModel Read(const Builder& builder) {
  base::Result<OnnxModel> model = ReadOnnx(builder.Bytes());
  EXPECT_TRUE(model.ok()) << model.error().message;
  return *std::move(model);
}

// y = sum over `M` iterations of x, by a Loop that also stacks the partial sums.
Builder SummingLoop() {
  Builder builder;
  builder.Input("M", kInt64, {});
  builder.Input("x", kFloat, {2});
  builder.Floats("zero", {2}, {0, 0});
  onnx::NodeProto* loop = builder.Node("Loop", {"M", "", "zero"}, {"y", "partial"});
  onnx::GraphProto* body = Builder::Body(loop, "body");
  Builder::Describe(body->add_input(), "i", kInt64, {});
  Builder::Describe(body->add_input(), "go", kBool, {});
  Builder::Describe(body->add_input(), "sum", kFloat, {2});
  Builder::NodeIn(body->mutable_node(), "Add", {"sum", "x"}, {"next"});
  Builder::NodeIn(body->mutable_node(), "Identity", {"next"}, {"row"});
  Builder::Describe(body->add_output(), "go", kBool, {});
  Builder::Describe(body->add_output(), "next", kFloat, {2});
  Builder::Describe(body->add_output(), "row", kFloat, {2});
  builder.Output("y", kFloat, {2});
  builder.Output("partial", kFloat, {-1, 2});
  return builder;
}

TEST(Interpreter, LoopsCarryValuesAndStackScans) {
  const OnnxModel model = Read(SummingLoop());
  const std::vector<Tensor> inputs = {Of<int64_t>(Shape(), {3}), Of<float>(Shape({2}), {1, 10})};
  const auto outputs = Interpreter(*model.graph).Run(inputs);
  ASSERT_TRUE(outputs.ok()) << outputs.error().message;
  EXPECT_THAT(ValuesOf<float>((*outputs)[0]), ElementsAre(3, 30));
  EXPECT_EQ((*outputs)[1].shape, Shape({3, 2}));
  EXPECT_THAT(ValuesOf<float>((*outputs)[1]), ElementsAre(1, 10, 2, 20, 3, 30));
}

TEST(Interpreter, ALoopOfNoIterationsReturnsWhatItWasGiven) {
  const OnnxModel model = Read(SummingLoop());
  const std::vector<Tensor> inputs = {Of<int64_t>(Shape(), {0}), Of<float>(Shape({2}), {1, 10})};
  const auto outputs = Interpreter(*model.graph).Run(inputs);
  ASSERT_TRUE(outputs.ok()) << outputs.error().message;
  EXPECT_THAT(ValuesOf<float>((*outputs)[0]), ElementsAre(0, 0));
  EXPECT_EQ((*outputs)[1].shape, Shape({0, 2}));
}

TEST(Interpreter, StopsLoopsAtTheIterationLimit) {
  const OnnxModel model = Read(SummingLoop());
  const std::vector<Tensor> inputs = {Of<int64_t>(Shape(), {INT64_MAX}),
                                      Of<float>(Shape({2}), {1, 10})};
  const auto outputs =
      Interpreter(*model.graph, {.bytes_max = 1 << 20, .work_max = 1 << 20, .iterations_max = 100})
          .Run(inputs);
  EXPECT_EQ(outputs.error().code, base::Code::kResourceExhausted);
}

TEST(Interpreter, IfRunsTheBranchThatTheConditionNames) {
  Builder builder;
  builder.Input("c", kBool, {});
  builder.Input("x", kFloat, {2});
  onnx::NodeProto* node = builder.Node("If", {"c"}, {"y"});
  onnx::GraphProto* then_branch = Builder::Body(node, "then_branch");
  Builder::NodeIn(then_branch->mutable_node(), "Neg", {"x"}, {"t"});
  Builder::Describe(then_branch->add_output(), "t", kFloat, {2});
  onnx::GraphProto* else_branch = Builder::Body(node, "else_branch");
  Builder::Describe(else_branch->add_output(), "x", kFloat, {2});
  builder.Output("y", kFloat, {2});
  const OnnxModel model = Read(builder);
  for (const bool condition : {true, false}) {
    const std::vector<Tensor> inputs = {OfBool(condition), Of<float>(Shape({2}), {1, 2})};
    const auto outputs = Interpreter(*model.graph).Run(inputs);
    ASSERT_TRUE(outputs.ok()) << outputs.error().message;
    EXPECT_EQ(ValuesOf<float>((*outputs)[0])[0], condition ? -1 : 1);
  }
}

Builder AddTwo() {
  Builder builder;
  Builder::NameDim(builder.Input("a", kFloat, {-1, 2}), 0, "N");
  Builder::NameDim(builder.Input("b", kFloat, {-1, 2}), 0, "N");
  builder.Node("Add", {"a", "b"}, {"y"});
  builder.Output("y", kFloat, {-1, 2});
  return builder;
}

std::string RunError(const OnnxModel& model, const std::vector<Tensor>& inputs,
                     const InterpreterLimits& limits = {}) {
  const auto outputs = Interpreter(*model.graph, limits).Run(inputs);
  return outputs.ok() ? "" : outputs.error().message;
}

TEST(Interpreter, RefusesInputsThatAreNotTheModels) {
  const OnnxModel model = Read(AddTwo());
  const Tensor row = Of<float>(Shape({1, 2}), {1, 2});
  EXPECT_EQ(RunError(model, {row, row}), "");
  EXPECT_THAT(RunError(model, {row}), HasSubstr("takes 2 inputs, got 1"));
  EXPECT_THAT(RunError(model, {row, Of<int64_t>(Shape({1, 2}), {1, 2})}),
              HasSubstr("input 'b' must be FP32, got INT64"));
  EXPECT_THAT(RunError(model, {row, Of<float>(Shape({1, 3}), {1, 2, 3})}),
              HasSubstr("input 'b' must have shape [N, 2], got [1, 3]"));
  EXPECT_THAT(RunError(model, {row, Of<float>(Shape({2, 2}), {1, 2, 3, 4})}),
              HasSubstr("input 'b' has 2 for dimension 'N', which is 1 in another input"));
}

TEST(Interpreter, StopsAtTheByteLimit) {
  const OnnxModel model = Read(AddTwo());
  const Tensor row = Of<float>(Shape({1, 2}), {1, 2});
  EXPECT_THAT(RunError(model, {row, row}, {.bytes_max = 4, .work_max = 100, .iterations_max = 1}),
              HasSubstr("bytes left"));
}

TEST(Interpreter, StopsAtTheWorkLimitBeforeTheWorkIsDone) {
  Builder builder;
  builder.Input("x", kFloat, {1000});
  onnx::NodeProto* node = builder.Node("Einsum", {"x", "x", "x", "x", "x", "x"}, {"y"});
  onnx::AttributeProto* equation = node->add_attribute();
  equation->set_name("equation");
  equation->set_type(onnx::AttributeProto::STRING);
  equation->set_s("a,b,c,d,e,f->");
  builder.Output("y", kFloat, {});
  const OnnxModel model = Read(builder);
  EXPECT_THAT(RunError(model, {Of<float>(Shape({1000}), std::vector<float>(1000))}),
              HasSubstr("more arithmetic"));
}

TEST(Interpreter, GivesBytesBackWhenTheLastReaderIsDone) {
  Builder builder;
  builder.Input("v0", kFloat, {16});
  for (int i = 0; i < 100; ++i)
    builder.Node("Neg", {"v" + std::to_string(i)}, {"v" + std::to_string(i + 1)});
  builder.Output("v100", kFloat, {16});
  const OnnxModel model = Read(builder);
  // Two tensors of 64 bytes are alive at a time.
  EXPECT_EQ(RunError(model, {Of<float>(Shape({16}), std::vector<float>(16))},
                     {.bytes_max = 128, .work_max = 1 << 20, .iterations_max = 0}),
            "");
}

TEST(Interpreter, RefusesIndicesFromDataThatAreOutOfRange) {
  Builder builder;
  builder.Input("x", kFloat, {3});
  builder.Input("i", kInt64, {1});
  builder.Node("Gather", {"x", "i"}, {"y"});
  builder.Output("y", kFloat, {1});
  const OnnxModel model = Read(builder);
  const Tensor x = Of<float>(Shape({3}), {1, 2, 3});
  EXPECT_EQ(RunError(model, {x, Of<int64_t>(Shape({1}), {-3})}), "");
  EXPECT_THAT(RunError(model, {x, Of<int64_t>(Shape({1}), {3})}),
              HasSubstr("node 'Gather_1' (Gather)"));
}

// ---- Shape arithmetic: what exporters write for x.reshape(B, S, heads, -1) ----

TEST(Inference, FoldsExportersShapeArithmeticIntoSymbols) {
  Builder builder;
  onnx::ValueInfoProto* x = builder.Input("x", kFloat, {-1, -1, 384});
  Builder::NameDim(x, 0, "B");
  Builder::NameDim(x, 1, "S");
  builder.Node("Shape", {"x"}, {"shape"});
  builder.Ints("zero", {0});
  builder.Ints("one", {1});
  builder.Ints("two", {2});
  builder.Ints("heads", {12});
  builder.Ints("hole", {-1});
  builder.Node("Gather", {"shape", "zero"}, {"b"});
  builder.Node("Slice", {"shape", "one", "two"}, {"s"});
  builder.Node("Concat", {"b", "s", "heads", "hole"}, {"target"});
  Builder::Int(builder.model.mutable_graph()->mutable_node(3), "axis", 0);
  builder.Node("Reshape", {"x", "target"}, {"split"});
  builder.Node("Mul", {"b", "s"}, {"tokens"});
  builder.Node("Concat", {"tokens", "hole"}, {"flat_target"});
  Builder::Int(builder.model.mutable_graph()->mutable_node(6), "axis", 0);
  builder.Node("Reshape", {"split", "flat_target"}, {"y"});
  builder.Output("y", kFloat, {-1, -1});
  const OnnxModel model = Read(builder);
  EXPECT_THAT(Dump(*model.graph), HasSubstr("%split: FP32[B, S, 12, 32]"));
  EXPECT_THAT(Dump(*model.graph), HasSubstr("%y: FP32[B*S, 384]"));
}

TEST(Inference, FollowsTheExpandIdiom) {
  Builder builder;
  Builder::NameDim(builder.Input("x", kFloat, {-1, 1}), 0, "B");
  builder.Node("Shape", {"x"}, {"shape"});
  builder.Ints("index", {0});
  builder.Ints("minus", {-1, -1});
  builder.Ints("ones", {1, 1});
  builder.Ints("seven", {7});
  builder.Node("Gather", {"shape", "index"}, {"b"});
  builder.Node("Concat", {"b", "seven"}, {"wanted"});
  Builder::Int(builder.model.mutable_graph()->mutable_node(2), "axis", 0);
  builder.Node("Equal", {"wanted", "minus"}, {"free"});
  builder.Node("Where", {"free", "ones", "wanted"}, {"target"});
  builder.Node("Expand", {"x", "target"}, {"y"});
  builder.Output("y", kFloat, {-1, 7});
  EXPECT_THAT(Dump(*Read(builder).graph), HasSubstr("%y: FP32[B, 7]"));
}

TEST(Inference, RefusesShapesThatCannotWork) {
  Builder builder;
  builder.Input("a", kFloat, {2, 3});
  builder.Input("b", kFloat, {4, 3});
  builder.Node("Add", {"a", "b"}, {"y"});
  builder.Output("y", kFloat, {});
  EXPECT_THAT(ReadOnnx(builder.Bytes()).error().message, HasSubstr("do not broadcast"));
}

}  // namespace
}  // namespace sluice::graph

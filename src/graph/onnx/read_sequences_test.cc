// Sequences of tensors whose lengths are known while a model is read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/interpreter.h"
#include "graph/onnx/model_builder.h"
#include "graph/onnx/reader.h"
#include "graph/onnx/sequence_values.h"
#include "graph/test_values.h"

namespace sluice::graph {
namespace {

using Builder = OnnxModelBuilder;
using tensor::Tensor;
using testing::HasSubstr;

constexpr int kFloat = onnx::TensorProto::FLOAT;
constexpr int kInt64 = onnx::TensorProto::INT64;
constexpr int kBool = onnx::TensorProto::BOOL;

void DescribeSequence(onnx::ValueInfoProto* info, const std::string& name, int type) {
  info->set_name(name);
  info->mutable_type()
      ->mutable_sequence_type()
      ->mutable_elem_type()
      ->mutable_tensor_type()
      ->set_elem_type(type);
}

void SequenceInput(Builder& builder, const std::string& name) {
  DescribeSequence(builder.model.mutable_graph()->add_input(), name, kFloat);
}

void SequenceOutput(Builder& builder, const std::string& name) {
  DescribeSequence(builder.model.mutable_graph()->add_output(), name, kFloat);
}

onnx::TensorProto* Scalar(Builder& builder, const std::string& name, int type, int64_t value) {
  onnx::TensorProto* tensor = builder.model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(type);
  if (type == kInt64) tensor->add_int64_data(value);
  if (type == kBool) tensor->add_int32_data(static_cast<int32_t>(value));
  return tensor;
}

OnnxReadOptions Told(std::map<std::string, int64_t, std::less<>> lengths) {
  OnnxReadOptions options;
  options.sequence_lengths = std::move(lengths);
  return options;
}

std::string ErrorOf(const Builder& builder, const OnnxReadOptions& options = {}) {
  const base::Result<OnnxModel> model = ReadOnnx(builder.Bytes(), nullptr, options);
  return model.ok() ? ""
                    : std::string(base::CodeName(model.error().code)) + " " + model.error().message;
}

// A loop of `count` iterations that appends item i of sequence `x`, doubled, to sequence `y`.
Builder Doubling(int64_t count) {
  Builder builder;
  SequenceInput(builder, "x");
  Scalar(builder, "count", kInt64, count);
  Scalar(builder, "true", kBool, 1);
  builder.Node("SequenceEmpty", {}, {"none"});
  onnx::GraphProto* body =
      Builder::Body(builder.Node("Loop", {"count", "true", "none"}, {"y"}), "body");
  for (const char* input : {"i", "cond_in", "seq_in"}) body->add_input()->set_name(input);
  Builder::NodeIn(body->mutable_node(), "SequenceAt", {"x", "i"}, {"item"});
  Builder::NodeIn(body->mutable_node(), "Add", {"item", "item"}, {"twice"});
  Builder::NodeIn(body->mutable_node(), "SequenceInsert", {"seq_in", "twice"}, {"seq_out"});
  Builder::NodeIn(body->mutable_node(), "Identity", {"cond_in"}, {"cond_out"});
  for (const char* output : {"cond_out", "seq_out"}) body->add_output()->set_name(output);
  SequenceOutput(builder, "y");
  return builder;
}

TEST(Sequences, AtTheInterfaceAreAsManyInputsAndOutputsAsAreTold) {
  const OnnxModel model = ReadOnnx(Doubling(2).Bytes(), nullptr, Told({{"x", 2}})).value();
  ASSERT_EQ(model.graph->inputs().size(), 2U);
  EXPECT_EQ(model.graph->inputs()[1]->name, "x.1");
  ASSERT_EQ(model.graph->outputs().size(), 2U);
  EXPECT_EQ(model.graph->outputs()[1].name, "y.1");

  // Elements need not be of one shape.
  const std::vector<Tensor> inputs = {Random({3}, 1), Random({2, 2}, 2)};
  const std::vector<Tensor> outputs = Interpreter(*model.graph).Run(inputs).value();
  for (size_t k = 0; k < 2; ++k) {
    ASSERT_EQ(outputs[k].shape, inputs[k].shape);
    for (int64_t i = 0; i < inputs[k].shape.elements(); ++i) {
      EXPECT_EQ(ValueAt(outputs[k].view(), i), 2 * ValueAt(inputs[k].view(), i));
    }
  }
}

TEST(Sequences, WithoutATruthfulLengthAreRefusedByName) {
  EXPECT_THAT(ErrorOf(Doubling(2)), HasSubstr("UNIMPLEMENTED input 'x' is not a tensor but a"));
  EXPECT_THAT(ErrorOf(Doubling(2), Told({{"x", 1}})),
              HasSubstr("position 1 lies outside of a sequence of 1"));
  EXPECT_THAT(ErrorOf(Doubling(2), Told({{"x", -1}})), HasSubstr("the length told of sequence"));
  EXPECT_THAT(ErrorOf(Doubling(2), Told({{"x", kSequenceLengthMax + 1}})),
              HasSubstr("the length told of sequence 'x' is 1025"));
  EXPECT_THAT(ErrorOf(Doubling(2), Told({{"x", 2}, {"z", 2}})),
              HasSubstr("a length is told of 'z'"));
}

TEST(Sequences, LoopsOverThemAreBounded) {
  EXPECT_EQ(ErrorOf(Doubling(64), Told({{"x", 64}})), "");
  EXPECT_THAT(ErrorOf(Doubling(kSequenceLengthMax + 1), Told({{"x", 2}})),
              HasSubstr("RESOURCE_EXHAUSTED"));
  OnnxReadOptions few = Told({{"x", 64}});
  few.limits.nodes_max = 100;
  EXPECT_THAT(ErrorOf(Doubling(64), few), HasSubstr("more than 100 nodes"));
}

TEST(Sequences, TheirElementsAreCountedTogether) {
  Builder builder;
  SequenceInput(builder, "x");
  for (int64_t i = 0; i * kSequenceLengthMax <= kSequenceElementsMax; ++i) {
    builder.Node("Identity", {"x"}, {"x" + std::to_string(i)});
  }
  SequenceOutput(builder, "x");
  EXPECT_THAT(ErrorOf(builder, Told({{"x", kSequenceLengthMax}})), HasSubstr("RESOURCE_EXHAUSTED"));
}

TEST(Sequences, APositionThatOnlyARunKnowsHasToBeTold) {
  Builder builder;
  SequenceInput(builder, "x");
  builder.Input("at", kInt64, {});
  builder.Node("SequenceAt", {"x", "at"}, {"y"});
  builder.Output("y", kFloat, {});
  OnnxReadOptions options = Told({{"x", 3}});
  EXPECT_THAT(ErrorOf(builder, options), HasSubstr("must be known when the model is read"));

  Tensor last = Tensor::Allocate(tensor::DType::kI64, tensor::Shape(), 64).value();
  *last.mutable_view().as<int64_t>() = -1;
  options.known_inputs.emplace("at", last);
  const OnnxModel model = ReadOnnx(builder.Bytes(), nullptr, options).value();
  ASSERT_EQ(model.graph->inputs().size(), 3U);
  EXPECT_EQ(model.graph->outputs()[0].value, model.graph->inputs()[2]);

  options.known_inputs["at"] = Random({1}, 1);
  EXPECT_THAT(ErrorOf(builder, options), HasSubstr("the value told of input 'at' is FP32[1]"));
}

TEST(Sequences, ASubgraphReadsThoseOutsideAndHandsOthersOn) {
  Builder builder;
  SequenceInput(builder, "x");
  builder.Input("cond", kBool, {});
  onnx::NodeProto* node = builder.Node("If", {"cond"}, {"y"});
  const auto branch = [node](const std::string& name, const char* erased) {
    onnx::GraphProto* body = Builder::Body(node, name);
    Builder::NodeIn(body->mutable_node(), "SequenceErase", {"x", erased}, {name + ".two"});
    Builder::NodeIn(body->mutable_node(), "SequenceErase", {name + ".two"}, {name + ".one"});
    body->add_output()->set_name(name + ".one");
  };
  Scalar(builder, "zero", kInt64, 0);
  Scalar(builder, "one", kInt64, 1);
  branch("then_branch", "zero");
  branch("else_branch", "one");
  SequenceOutput(builder, "y");
  const OnnxModel model = ReadOnnx(builder.Bytes(), nullptr, Told({{"x", 3}})).value();
  ASSERT_EQ(model.graph->outputs().size(), 1U);
  for (const bool truth : {true, false}) {
    Tensor cond = Tensor::Allocate(tensor::DType::kBool, tensor::Shape(), 64).value();
    *cond.mutable_view().as<bool>() = truth;
    const std::vector<Tensor> inputs = {Random({1}, 1), Random({1}, 2), Random({1}, 3), cond};
    const std::vector<Tensor> outputs = Interpreter(*model.graph).Run(inputs).value();
    EXPECT_EQ(ValueAt(outputs[0].view(), 0), ValueAt(inputs[truth ? 1 : 0].view(), 0));
  }
}

TEST(Sequences, AreNoTensors) {
  Builder builder;
  SequenceInput(builder, "x");
  builder.Node("Relu", {"x"}, {"y"});
  builder.Output("y", kFloat, {});
  EXPECT_THAT(ErrorOf(builder, Told({{"x", 1}})),
              HasSubstr("'x' is a sequence where a tensor is expected"));
}

TEST(Sequences, AnElementThatIsListedAsAnInputBesidesIsRefused) {
  Builder builder;
  builder.Input("x.0", kFloat, {1});
  SequenceInput(builder, "x");
  SequenceOutput(builder, "x");
  EXPECT_THAT(ErrorOf(builder, Told({{"x", 1}})), HasSubstr("listed besides"));
}

}  // namespace
}  // namespace sluice::graph

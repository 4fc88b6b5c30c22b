#include "graph/onnx/detached_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/onnx/model_builder.h"
#include "graph/onnx/reader.h"

namespace sluice::graph {
namespace {

using testing::HasSubstr;

constexpr int64_t kRows = 300, kColumns = 100;

std::vector<float> LargeValues() {
  std::vector<float> values(kRows * kColumns);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.5F;
  return values;
}

// y = x W + b, W large and raw, b small; `name` shifts where W's data lie in the file.
OnnxModelBuilder Linear(const std::string& name = "W") {
  OnnxModelBuilder builder;
  OnnxModelBuilder::NameDim(builder.Input("x", onnx::TensorProto::FLOAT, {-1, kRows}), 0, "N");
  builder.Ints("small", {1, 2, 3});
  const std::vector<float> values = LargeValues();
  onnx::TensorProto* large = builder.Floats(name, {kRows, kColumns}, {});
  large->set_raw_data(values.data(), values.size() * sizeof(float));
  builder.Floats("b", {2}, {1, 2});
  builder.Node("MatMul", {"x", name}, {"y"});
  builder.Output("y", onnx::TensorProto::FLOAT, {-1, kColumns});
  return builder;
}

TEST(DetachedDataTest, LargeRawDataAreTakenOutAndTheRestIsWhatItWas) {
  const OnnxModelBuilder builder = Linear();
  const std::string bytes = builder.Bytes();
  const std::optional<DetachedData> detached = DetachLargeData(bytes);
  ASSERT_TRUE(detached.has_value());
  ASSERT_EQ(detached->large.size(), 1U);
  const auto& [index, data] = *detached->large.begin();
  EXPECT_EQ(index, 1);
  EXPECT_EQ(data, builder.model.graph().initializer(1).raw_data());
  EXPECT_TRUE(data.data() > bytes.data() && data.data() < bytes.data() + bytes.size());
  onnx::ModelProto rest = builder.model;
  rest.mutable_graph()->mutable_initializer(1)->clear_raw_data();
  EXPECT_EQ(detached->rest, rest.SerializeAsString());
}

TEST(DetachedDataTest, TheReaderGetsTheSameTensorWhereverItsDataLie) {
  for (const std::string name : {"W", "We", "Wei", "Weig"}) {
    const base::Result<OnnxModel> model = ReadOnnx(Linear(name).Bytes());
    ASSERT_TRUE(model.ok()) << model.error().message;
    bool found = false;
    for (const Value* constant : model->graph->Constants()) {
      if (constant->name != name) continue;
      found = true;
      const auto values = constant->constant->view().span<float>();
      EXPECT_TRUE(std::equal(values.begin(), values.end(), LargeValues().begin()));
    }
    EXPECT_TRUE(found);
  }
}

TEST(DetachedDataTest, DataThatDoNotFitTheShapeAreRefusedByName) {
  OnnxModelBuilder builder = Linear();
  builder.model.mutable_graph()->mutable_initializer(1)->set_dims(0, kRows + 1);
  const base::Result<OnnxModel> model = ReadOnnx(builder.Bytes());
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(model.error().message, HasSubstr("'W'"));
  EXPECT_THAT(model.error().message, HasSubstr("has 120000 bytes"));
}

TEST(DetachedDataTest, WhatComesTwiceIsLeftToTheParser) {
  const std::string bytes = Linear().Bytes();
  EXPECT_FALSE(DetachLargeData(bytes + bytes).has_value());
}

TEST(DetachedDataTest, AFileCutAnywhereIsNoModelAndNoFault) {
  const std::string bytes = Linear().Bytes();
  for (size_t size = 0; size < bytes.size(); size += size < 300 ? 1 : 997) {
    const std::string cut = bytes.substr(0, size);
    const std::optional<DetachedData> detached = DetachLargeData(cut);
    onnx::ModelProto parsed;
    EXPECT_TRUE(!detached.has_value() || parsed.ParseFromString(cut)) << size;
    EXPECT_FALSE(ReadOnnx(cut).ok()) << size;
  }
}

}  // namespace
}  // namespace sluice::graph

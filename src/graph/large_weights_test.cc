// Large weights of a model file are left in it until somebody looks at them, and nobody does where
// the weight cache has what they are packed to.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "graph/model.h"
#include "graph/onnx/model_builder.h"
#include "graph/test_graph.h"
#include "kernels/weight_store.h"

namespace sluice::graph {
namespace {

using tensor::Tensor;

constexpr int kFloat = onnx::TensorProto::FLOAT;
constexpr int kInt64 = onnx::TensorProto::INT64;
constexpr int64_t kDepth = 144;
constexpr int64_t kWidth = 128;
constexpr int64_t kTableRows = 300;

class LargeWeightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/large_weights_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
    path_ = folder_ + "/model.onnx";
    WriteModel(1);
  }
  void TearDown() override {
    kernels::WeightStore::Process().UseCache(nullptr);
    std::filesystem::remove_all(folder_);
  }

  // Two towers over the same input, whose first layers become one, and rows of a table.
  void WriteModel(uint32_t seed) {
    OnnxModelBuilder builder;
    OnnxModelBuilder::NameDim(builder.Input("x", kFloat, {-1, kDepth}), 0, "N");
    OnnxModelBuilder::NameDim(builder.Input("ids", kInt64, {-1}), 0, "N");
    std::mt19937 random(seed);
    const auto weight = [&](const std::string& name, int64_t rows, int64_t columns) {
      onnx::TensorProto* const tensor = builder.Floats(name, {rows, columns}, {});
      std::normal_distribution<float> normal;
      std::vector<float> values(static_cast<size_t>(rows * columns));
      for (float& x : values) x = normal(random) / 12;
      tensor->set_raw_data(values.data(), values.size() * sizeof(float));
    };
    weight("table", kTableRows, kWidth);
    builder.Node("Gather", {"table", "ids"}, {"row"});
    for (const std::string tower : {"a", "b"}) {
      weight("first_" + tower, kDepth, kWidth);
      weight("second_" + tower, kWidth, kDepth);
      builder.Node("MatMul", {"x", "first_" + tower}, {"product_" + tower});
      builder.Node("Relu", {"product_" + tower}, {"active_" + tower});
      builder.Node("MatMul", {"active_" + tower, "second_" + tower}, {"out_" + tower});
      builder.Output("out_" + tower, kFloat, {-1, kDepth});
    }
    builder.Output("row", kFloat, {-1, kWidth});
    std::ofstream(path_, std::ios::binary) << builder.Bytes();
  }

  void UseCache() {
    kernels::WeightStore::Process().UseCache(
        kernels::WeightCache::Open({folder_ + "/cache", 1 << 30}).value());
  }

  static std::vector<Tensor> Answers(const Model& model) {
    std::vector<Tensor> inputs = {
        {tensor::DType::kF32, tensor::Shape({3, kDepth}), tensor::Buffer::Allocate(3 * kDepth * 4)},
        {tensor::DType::kI64, tensor::Shape({3}), tensor::Buffer::Allocate(3 * 8)}};
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (float& x : inputs[0].mutable_view().span<float>()) x = normal(random);
    for (int64_t& id : inputs[1].mutable_view().span<int64_t>())
      id = static_cast<int64_t>(random() % kTableRows);
    return RunCompiled(model, inputs).value();
  }
  static bool SameBits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    bool same = a.size() == b.size();
    for (size_t i = 0; same && i < a.size(); ++i) {
      same = a[i].shape == b[i].shape && std::memcmp(a[i].buffer.data(), b[i].buffer.data(),
                                                     static_cast<size_t>(a[i].bytes())) == 0;
    }
    return same;
  }
  std::vector<Tensor> AnswersFromMemory() const {
    std::ifstream in(path_, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    return Answers(*Model::LoadBytes(bytes, {}).value());
  }

  std::string folder_;
  std::string path_;
};

TEST_F(LargeWeightsTest, AreNotMadeWhereTheCacheHasWhatTheyArePackedTo) {
  const std::vector<Tensor> expected = AnswersFromMemory();
  UseCache();
  EXPECT_TRUE(SameBits(Answers(*Model::Load(path_, {}).value()), expected));
  OnnxModel read = ReadOnnxFile(path_).value();
  std::vector<std::shared_ptr<const Tensor>> large;
  for (const Value* constant : read.graph->Constants()) {
    if (constant->constant->bytes() >= 64 << 10) large.push_back(constant->constant);
  }
  ASSERT_EQ(large.size(), 5U);
  const auto model = Model::Compile(std::move(read), {}).value();
  EXPECT_EQ(CountOps(*model, "sluice.FusedLinear"), 3);
  for (const auto& constant : large) EXPECT_FALSE(constant->buffer.made());
  EXPECT_TRUE(SameBits(Answers(*model), expected));
}

TEST_F(LargeWeightsTest, GiveTheSameAnswersInEveryFormFromTheCache) {
  for (const char* const form : {"bf16-storage", "int8-storage"}) {
    CompileOptions options;
    options.weights = WeightChoice{ParseWeightForm(form).value(), {}};
    kernels::WeightStore::Process().UseCache(nullptr);
    const std::vector<Tensor> expected = Answers(*Model::Load(path_, options).value());
    UseCache();
    for (int turn = 0; turn < 2; ++turn)
      EXPECT_TRUE(SameBits(Answers(*Model::Load(path_, options).value()), expected)) << form;
  }
}

TEST_F(LargeWeightsTest, OfAChangedFileAreNeverThoseOfTheOldOne) {
  UseCache();
  const std::vector<Tensor> old = Answers(*Model::Load(path_, {}).value());
  // The same size, and the same times as far as a cache could see them.
  const auto time = std::filesystem::last_write_time(path_);
  WriteModel(2);
  std::filesystem::last_write_time(path_, time);
  const std::vector<Tensor> changed = Answers(*Model::Load(path_, {}).value());
  EXPECT_FALSE(SameBits(changed, old));
  EXPECT_TRUE(SameBits(changed, AnswersFromMemory()));
}

TEST_F(LargeWeightsTest, ThatLieUnalignedInAFileOfTheirOwnAreLeftThereToo) {
  std::vector<float> values(static_cast<size_t>(kDepth * kWidth));
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (float& x : values) x = normal(random);
  std::ofstream file(folder_ + "/weights.bin", std::ios::binary);
  file << "odd";
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(float)));
  file.close();
  OnnxModelBuilder builder;
  OnnxModelBuilder::NameDim(builder.Input("x", kFloat, {-1, kDepth}), 0, "N");
  onnx::TensorProto* const tensor = builder.Floats("w", {kDepth, kWidth}, {});
  tensor->set_data_location(onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] :
       {std::pair("location", "weights.bin"), std::pair("offset", "3")}) {
    onnx::StringStringEntryProto* const entry = tensor->add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  }
  builder.Node("MatMul", {"x", "w"}, {"y"});
  builder.Output("y", kFloat, {-1, kWidth});
  std::ofstream(path_, std::ios::binary) << builder.Bytes();
  const OnnxModel read = ReadOnnxFile(path_).value();
  const Tensor& weight = *read.graph->FindValue("w")->constant;
  EXPECT_FALSE(weight.buffer.made());
  EXPECT_EQ(std::memcmp(weight.buffer.data(), values.data(), values.size() * sizeof(float)), 0);
}

TEST_F(LargeWeightsTest, AreOneCopyForAllInstances) {
  UseCache();
  const auto first = Model::Load(path_, {}).value();
  const int64_t bytes = kernels::WeightStore::Process().resident_bytes();
  const auto second = Model::Load(path_, {}).value();
  EXPECT_EQ(kernels::WeightStore::Process().resident_bytes(), bytes);
  EXPECT_TRUE(SameBits(Answers(*first), Answers(*second)));
}

}  // namespace
}  // namespace sluice::graph

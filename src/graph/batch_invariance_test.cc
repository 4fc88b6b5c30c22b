// The same row gives the same bits in a batch of 1, of 7 and of 256, in any order, on every path of
// instructions that this machine has: every graph of tests/conformance/graphs whose requests may
// share a step. Encoders over packed rows: infer/encoder_families_test.cc; weights of 16 and 8
// bits: weight_choice_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <random>

#include "graph/test_graph.h"
#include "kernels/target.h"
#include "onnx/onnx-ml.pb.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

const std::string kFolder = "tests/conformance/graphs";
constexpr int64_t kRows = 256;
constexpr int64_t kOtherExtent = 5;  // of dimensions beside the batch that are left open

std::vector<std::string> GraphNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".onnx") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What the README beside the graphs says of their integer inputs: drawn below `high.NAME`.
std::map<std::string, int64_t> Highs(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  onnx::ModelProto model;
  CHECK(model.ParseFromIstream(&in)) << path;
  std::map<std::string, int64_t> highs;
  for (const auto& property : model.metadata_props()) {
    if (property.key().starts_with("high."))
      highs[property.key().substr(5)] = std::stoll(property.value());
  }
  return highs;
}

template <class T>
void Draw(Tensor& tensor, const std::function<T()>& next) {
  for (T& x : tensor.mutable_view().span<T>()) x = next();
}

// Nothing for a type that no graph has.
std::optional<Tensor> DrawInput(const TensorInterface& input, int64_t high, std::mt19937& random) {
  Shape shape;
  for (size_t axis = 0; axis < input.dims.size(); ++axis) {
    const int64_t dim = input.dims[axis];
    shape.Append(dim >= 0 ? dim : axis == 0 ? kRows : kOtherExtent);
  }
  Tensor tensor = Tensor::Allocate(input.dtype, shape, 1 << 30).value();
  std::normal_distribution<float> normal;
  const bool mask = input.name.find("mask") != std::string::npos;
  const auto integer = [&]() { return static_cast<int64_t>(random()) % (mask ? 2 : high); };
  switch (input.dtype) {
    case DType::kF32:
      Draw<float>(tensor, [&]() { return normal(random); });
      return tensor;
    case DType::kI64:
      Draw<int64_t>(tensor, integer);
      return tensor;
    case DType::kI32:
      Draw<int32_t>(tensor, [&]() { return static_cast<int32_t>(integer()); });
      return tensor;
    case DType::kBool:
      Draw<bool>(tensor, [&]() { return random() % 2 == 0; });
      return tensor;
    default:
      return std::nullopt;
  }
}

Tensor Rows(const Tensor& all, const std::vector<int64_t>& rows) {
  Shape shape = all.shape;
  shape.set_dim(0, static_cast<int64_t>(rows.size()));
  Tensor some = Tensor::Allocate(all.dtype, shape, 1 << 30).value();
  const int64_t bytes = all.view().bytes() / all.shape[0];
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(some.buffer.mutable_data() + static_cast<int64_t>(i) * bytes,
                all.buffer.data() + rows[i] * bytes, static_cast<size_t>(bytes));
  }
  return some;
}

class BatchInvarianceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void TearDown() override { kernels::SetTargetForTesting(best_); }

  // These rows alone, in this order, against the whole batch's answers.
  static void Expect(const Model& model, const std::vector<Tensor>& inputs,
                     const std::vector<Tensor>& whole, const std::vector<int64_t>& rows) {
    std::vector<Tensor> some;
    for (const Tensor& input : inputs) some.push_back(Rows(input, rows));
    const auto outputs = RunCompiled(model, some);
    ASSERT_TRUE(outputs.ok()) << outputs.error().message;
    for (size_t i = 0; i < whole.size(); ++i) {
      const Tensor wanted = Rows(whole[i], rows);
      ASSERT_EQ((*outputs)[i].shape, wanted.shape);
      EXPECT_EQ(std::memcmp((*outputs)[i].buffer.data(), wanted.buffer.data(),
                            static_cast<size_t>(wanted.view().bytes())),
                0)
          << "output " << i << " of " << rows.size() << " rows from " << rows[0];
    }
  }

  const kernels::Target best_ = kernels::ActiveTarget();
};

TEST_P(BatchInvarianceTest, ARowHasTheSameBitsInABatchOf1And7And256InAnyOrder) {
  const std::string path = kFolder + "/" + GetParam() + ".onnx";
  std::map<std::string, int64_t> highs = Highs(path);
  for (const kernels::Target target : kernels::AvailableTargets()) {
    SCOPED_TRACE(kernels::TargetName(target));
    kernels::SetTargetForTesting(target);
    const auto model = Model::Load(path, {});
    ASSERT_TRUE(model.ok()) << model.error().message;
    if (!(*model)->batchability().joinable) {
      // Its requests never share a step, and it says why.
      EXPECT_FALSE((*model)->batchability().reason.empty());
      continue;
    }
    std::mt19937 random(7);
    std::vector<Tensor> inputs;
    for (const TensorInterface& input : (*model)->inputs()) {
      const auto high = highs.find(input.name);
      std::optional<Tensor> drawn =
          DrawInput(input, high == highs.end() ? 2 : high->second, random);
      ASSERT_TRUE(drawn.has_value()) << "no values of the type of " << input.name;
      inputs.push_back(std::move(*drawn));
    }
    const auto whole = RunCompiled(**model, inputs);
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    std::vector<int64_t> order(kRows);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    Expect(**model, inputs, *whole, order);
    for (size_t i = 0; i < 28; i += 7) {
      Expect(**model, inputs, *whole,
             {order.begin() + static_cast<std::ptrdiff_t>(i),
              order.begin() + static_cast<std::ptrdiff_t>(i) + 7});
      Expect(**model, inputs, *whole, {order[i]});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Graphs, BatchInvarianceTest, ::testing::ValuesIn(GraphNames()),
                         [](const auto& graph) { return graph.param; });

}  // namespace
}  // namespace sluice::graph

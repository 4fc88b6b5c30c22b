// Whole models from tests/conformance/graphs: compiled against interpreted, bits in a batch,
// memory, limits.
#include "graph/model.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <random>
#include <sstream>

#include "graph/interpreter.h"
#include "graph/test_graph.h"
#include "onnx/onnx-ml.pb.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

// Counts what the step path allocates.
__attribute__((noinline)) void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* p = std::malloc(size > 0 ? size : 1);
  if (p == nullptr) std::abort();
  return p;
}
__attribute__((noinline)) void* operator new(size_t size, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size > 0 ? size : 1);
}
__attribute__((noinline)) void operator delete(void* p) noexcept {
  std::free(p);
}
__attribute__((noinline)) void operator delete(void* p, size_t) noexcept {
  std::free(p);
}

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

const std::string kGraphs = "tests/conformance/graphs/";

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<int64_t> Numbers(const std::string& text) {
  std::vector<int64_t> numbers;
  std::stringstream in(text);
  std::string number;
  while (std::getline(in, number, ',')) numbers.push_back(std::stoll(number));
  return numbers;
}

// An exported graph with what its metadata says of its inputs: an example shape, and a bound for
// integers.
struct Example {
  std::shared_ptr<const Model> model;
  std::unique_ptr<Graph> plain;  // as read, for the interpreter
  std::map<std::string, std::string> metadata;

  explicit Example(const std::string& name, const CompileOptions& options = {}) {
    const std::string bytes = ReadAll(kGraphs + name + ".onnx");
    onnx::ModelProto proto;
    EXPECT_TRUE(proto.ParseFromString(bytes)) << name;
    for (const auto& entry : proto.metadata_props()) metadata[entry.key()] = entry.value();
    plain = std::move(ReadOnnx(bytes).value().graph);
    model = Model::LoadBytes(bytes, options).value();
  }

  // The example's shapes, dimension 0 of every input replaced where `rows` is above 0.
  std::vector<Tensor> Inputs(int64_t rows, uint32_t seed) const {
    std::mt19937 random(seed);
    std::vector<Tensor> inputs;
    for (const TensorInterface& input : model->inputs()) {
      std::vector<int64_t> dims = metadata.count("example." + input.name) > 0
                                      ? Numbers(metadata.at("example." + input.name))
                                      : input.dims;
      if (rows > 0) dims[0] = rows;
      Tensor tensor = Tensor::Allocate(input.dtype, Shape(dims), 1 << 24).value();
      const int64_t high = metadata.count("high." + input.name) > 0
                               ? std::stoll(metadata.at("high." + input.name))
                               : 2;
      std::normal_distribution<float> normal;
      for (int64_t i = 0; i < tensor.shape.elements(); ++i) {
        const int64_t integer = static_cast<int64_t>(random() % static_cast<uint64_t>(high));
        if (input.dtype == DType::kF32) tensor.mutable_view().as<float>()[i] = normal(random);
        if (input.dtype == DType::kI64) tensor.mutable_view().as<int64_t>()[i] = integer;
        if (input.dtype == DType::kI32)
          tensor.mutable_view().as<int32_t>()[i] = static_cast<int32_t>(integer);
        if (input.dtype == DType::kBool) tensor.mutable_view().as<bool>()[i] = integer % 2 != 0;
      }
      inputs.push_back(std::move(tensor));
    }
    return inputs;
  }
};

std::vector<std::string> AllGraphs() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGraphs)) {
    if (entry.path().extension() == ".onnx") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void ExpectClose(const Tensor& expected, const Tensor& actual, const std::string& what) {
  ASSERT_EQ(expected.shape, actual.shape) << what;
  ASSERT_EQ(expected.dtype, actual.dtype) << what;
  if (expected.dtype != DType::kF32) {
    EXPECT_EQ(std::memcmp(expected.buffer.data(), actual.buffer.data(),
                          static_cast<size_t>(expected.view().bytes())),
              0)
        << what;
    return;
  }
  const auto e = expected.view().span<float>();
  const auto a = actual.view().span<float>();
  for (size_t i = 0; i < e.size(); ++i) {
    if (std::isnan(e[i]) && std::isnan(a[i])) continue;
    ASSERT_NEAR(e[i], a[i], 2e-5 + 1e-4 * std::abs(e[i])) << what << " element " << i;
  }
}

TEST(ModelTest, EveryExportedGraphComputesTheSameCompiledAsInterpreted) {
  const std::vector<std::string> names = AllGraphs();
  ASSERT_GE(names.size(), 30U);
  for (const std::string& name : names) {
    const Example example(name);
    for (uint32_t seed = 1; seed <= 2; ++seed) {
      const std::vector<Tensor> inputs = example.Inputs(0, seed);
      const std::vector<Tensor> expected = Interpreter(*example.plain).Run(inputs).value();
      const auto actual = RunCompiled(*example.model, inputs);
      ASSERT_TRUE(actual.ok()) << name << ": " << actual.error().message;
      ASSERT_EQ(expected.size(), actual->size());
      for (size_t i = 0; i < expected.size(); ++i) ExpectClose(expected[i], (*actual)[i], name);
    }
  }
}

TEST(ModelTest, EveryExportedEmbeddingBagIsOneLookUpStep) {
  int checked = 0;
  for (const std::string& name : AllGraphs()) {
    if (name.find("_bags_") == std::string::npos) continue;
    const Example example(name);
    EXPECT_FALSE(example.model->interpreted()) << name << example.model->interpreted_reason();
    EXPECT_EQ(CountOps(*example.model, "Loop"), 0) << name;
    EXPECT_EQ(CountOps(*example.model, "sluice.FusedLookups"), 1) << name;
    // Bags cut by offsets of the whole batch cannot be told apart by rows.
    const bool cut =
        name.find("ragged") != std::string::npos || name.find("weighted") != std::string::npos;
    EXPECT_EQ(example.model->batchability().joinable, !cut) << name;
    ++checked;
  }
  EXPECT_EQ(checked, 10);
}

// The steps of a kind in the plan for the example's shapes, told as `explain` tells them.
std::vector<std::string> StepsOf(const Example& example, const std::string& kind) {
  std::vector<Shape> shapes;
  for (const Tensor& input : example.Inputs(5, 1)) shapes.push_back(input.shape);
  std::vector<std::string> details;
  for (const StepInfo& info : example.model->PlanFor(shapes).value()->infos) {
    if (info.kind == kind) details.push_back(info.detail);
  }
  return details;
}

TEST(ModelTest, EveryExportedCrossLayerIsFinishedByItsProduct) {
  int checked = 0;
  for (const std::string& name : AllGraphs()) {
    if (name.rfind("dcn_", 0) != 0) continue;
    const Example example(name);
    EXPECT_EQ(StepsOf(example, "elementwise"), std::vector<std::string>()) << name;
    size_t crosses = StepsOf(example, "vector cross").size();
    const bool columns = name.rfind("dcn_columns", 0) == 0;
    EXPECT_EQ(crosses, name.rfind("dcn_vector", 0) == 0 ? 4U : columns ? 3U : 0U) << name;
    for (const std::string& detail : StepsOf(example, "linear")) {
      crosses += detail.find(" cross ") != std::string::npos ? 1 : 0;
    }
    const bool low_rank = name.rfind("dcn_low_rank", 0) == 0;
    const bool vector = name.rfind("dcn_vector", 0) == 0;
    EXPECT_EQ(crosses, low_rank ? 2U : vector ? 4U : 3U) << name;
    ++checked;
  }
  EXPECT_EQ(checked, 9);
}

TEST(ModelTest, EveryExportedActivationUnitKeepsItsPReluAndDice) {
  int checked = 0;
  for (const std::string& name : AllGraphs()) {
    if (name.rfind("din_", 0) != 0) continue;
    const Example example(name);
    const std::vector<std::string> networks = StepsOf(example, "row network");
    ASSERT_EQ(networks.size(), 1U) << name;
    const bool dice = name.find("dice") != std::string::npos;
    const std::string layers = dice ? "layers 16 dice-12 dice-1"
                               : name.find("slopes") != std::string::npos
                                   ? "layers 16 prelu-12 prelu-1"
                                   : "layers 16 prelu-1";
    EXPECT_NE(networks[0].find(layers), std::string::npos) << name << ": " << networks[0];
    ++checked;
  }
  EXPECT_EQ(checked, 8);
}

// Rows [first, first + count) of a tensor.
Tensor RowsOf(const Tensor& tensor, int64_t first, int64_t count) {
  Tensor rows{tensor.dtype, tensor.shape, {}};
  rows.shape.set_dim(0, count);
  const int64_t row_bytes = tensor.view().bytes() / tensor.shape[0];
  rows.buffer = tensor::Buffer::Allocate(count * row_bytes);
  std::memcpy(rows.buffer.mutable_data(), tensor.buffer.data() + first * row_bytes,
              static_cast<size_t>(count * row_bytes));
  return rows;
}

TEST(ModelTest, ARowHasTheSameBitsInABatchOf1And7And64) {
  int checked = 0;
  for (const std::string& name : AllGraphs()) {
    const Example example(name);
    if (!example.model->batchability().joinable || example.model->interpreted()) continue;
    const std::vector<Tensor> all = example.Inputs(64, 5);
    const std::vector<Tensor> together = RunCompiled(*example.model, all).value();
    for (const auto& [first, count] :
         std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {63, 1}, {31, 7}}) {
      std::vector<Tensor> some;
      for (const Tensor& tensor : all) some.push_back(RowsOf(tensor, first, count));
      const std::vector<Tensor> apart = RunCompiled(*example.model, some).value();
      for (size_t i = 0; i < apart.size(); ++i) {
        const Tensor expected = RowsOf(together[i], first, count);
        EXPECT_EQ(std::memcmp(expected.buffer.data(), apart[i].buffer.data(),
                              static_cast<size_t>(expected.view().bytes())),
                  0)
            << name << " rows " << first << " to " << first + count << " output " << i;
      }
    }
    ++checked;
  }
  EXPECT_GE(checked, 30);
}

struct Planned {
  std::shared_ptr<const Plan> plan;
  std::vector<Tensor> inputs, outputs;
  std::vector<const void*> sources;
  std::vector<void*> places;
  tensor::Buffer memory;
  ExecuteArgs args;

  Planned(const Example& example, int64_t rows) : inputs(example.Inputs(rows, 3)) {
    std::vector<Shape> shapes;
    for (const Tensor& input : inputs) {
      shapes.push_back(input.shape);
      sources.push_back(input.buffer.data());
    }
    plan = example.model->PlanFor(shapes).value();
    for (size_t i = 0; i < plan->output_shapes.size(); ++i) {
      outputs.push_back(
          Tensor::Allocate(example.model->outputs()[i].dtype, plan->output_shapes[i], 1 << 26)
              .value());
      places.push_back(outputs.back().buffer.mutable_data());
    }
    memory = tensor::Buffer::Allocate(plan->memory_bytes);
    args.inputs = sources;
    args.outputs = places;
    args.memory = memory.mutable_data();
    args.memory_bytes = plan->memory_bytes;
  }
};

TEST(ModelTest, AStepAllocatesNothing) {
  for (const char* name :
       {"deepfm_ts14", "bert_encoder_ts15", "bert_encoder_dynamo19", "dcn_cross_ts15"}) {
    const Example example(name);
    Planned planned(example, 6);
    ASSERT_TRUE(Execute(*planned.plan, planned.args).ok());
    const int64_t before = allocations.load();
    const bool ok = Execute(*planned.plan, planned.args).ok();
    EXPECT_EQ(allocations.load() - before, 0) << name;
    EXPECT_TRUE(ok);
  }
}

TEST(ModelTest, SafepointsComeAtLeastEveryQuantumOfPredictedWork) {
  const Example example("bert_encoder_ts15");
  Planned planned(example, 64);
  struct Count {
    int64_t reached = 0;
    int64_t stop_at = -1;
  } count;
  planned.args.quantum_ns = 2000;
  planned.args.safepoint_context = &count;
  planned.args.safepoint = [](void* context) {
    auto* c = static_cast<Count*>(context);
    return ++c->reached != c->stop_at;
  };
  ASSERT_TRUE(Execute(*planned.plan, planned.args).ok());
  std::vector<Tensor> paced;
  for (const Tensor& output : planned.outputs) paced.push_back(RowsOf(output, 0, output.shape[0]));
  EXPECT_GE(count.reached, static_cast<int64_t>(planned.plan->predicted_ns / 2000 / 4));
  planned.args.safepoint = nullptr;
  ASSERT_TRUE(Execute(*planned.plan, planned.args).ok());
  for (size_t i = 0; i < paced.size(); ++i) {
    EXPECT_EQ(std::memcmp(paced[i].buffer.data(), planned.outputs[i].buffer.data(),
                          static_cast<size_t>(paced[i].view().bytes())),
              0);
  }
  count = {0, 3};
  planned.args.safepoint = [](void* context) {
    auto* c = static_cast<Count*>(context);
    return ++c->reached != c->stop_at;
  };
  EXPECT_EQ(Execute(*planned.plan, planned.args).error().code, base::Code::kCancelled);
  EXPECT_EQ(count.reached, 3);
}

TEST(ModelTest, AShapeThatFoldingTellsIsNoLongerOpen) {
  // Its pads are computed from constants by a chain that inference alone does not follow.
  const auto model = Model::Load(kGraphs + "split_concat_slice_ts13.onnx", {});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_FALSE((*model)->interpreted()) << (*model)->interpreted_reason();
}

TEST(ModelTest, ShapesThatDoNotFitAreRefusedByName) {
  const Example example("deepfm_ts14");
  const auto message = [&](std::vector<Shape> shapes) {
    return example.model->PlanFor(shapes).error().message;
  };
  EXPECT_EQ(message({{2, 5}, {2, 4}}), "input 'ids' has shape [2, 5], expected [-1, 6]");
  EXPECT_EQ(message({{2, 6}}), "expected 2 inputs, got 1");
  EXPECT_FALSE(example.model->PlanFor(std::vector<Shape>{{2, 6}, {3, 4}}).ok());
}

TEST(ModelTest, AnEmptyInputOfAbsurdExtentIsRefusedBeforeItsActivationsAreCounted) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S")});
  Value* sum = g.Add("ReduceSum", {x, g.Ints({1})});
  g.Output("y", g.Add("Tanh", {g.Add("MatMul", {sum, g.Weights({1, 768})})}));
  const std::shared_ptr<const Model> model = g.Compile();
  EXPECT_TRUE(model->PlanFor(std::vector<Shape>{{1 << 20, 0}}).ok());
  const auto plan = model->PlanFor(std::vector<Shape>{{int64_t{1} << 51, 0}});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, base::Code::kInvalidArgument);
  EXPECT_NE(plan.error().message.find("above the limit of"), std::string::npos);
}

TEST(ModelTest, AnIndexOutOfRangeIsAnErrorThatNamesIt) {
  const Example example("deepfm_ts14");
  Planned planned(example, 4);
  planned.inputs[0].mutable_view().as<int64_t>()[9] = int64_t{1} << 40;
  const base::Status status = Execute(*planned.plan, planned.args);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, base::Code::kInvalidArgument);
  EXPECT_NE(status.error().message.find("outside [0, "), std::string::npos)
      << status.error().message;
}

TEST(ModelTest, PlansAreKeptAndTheLeastRecentlyUsedGoes) {
  CompileOptions options;
  options.plans_max = 2;
  const Example example("deepfm_ts14", options);
  const auto plan = [&](int64_t rows) {
    return example.model->PlanFor(std::vector<Shape>{{rows, 6}, {rows, 4}}).value();
  };
  const auto one = plan(1);
  const auto two = plan(2);
  EXPECT_EQ(plan(1), one);
  plan(3);  // 2 goes
  EXPECT_EQ(plan(1), one);
  EXPECT_NE(plan(2), two);
}

TEST(ModelTest, ActivationsShareMemory) {
  const Example example("bert_encoder_ts15");
  const Planned planned(example, 16);
  EXPECT_LT(planned.plan->arena_bytes * 2, planned.plan->activations_bytes);
}

TEST(ModelTest, APlanTellsWorkAndTimeOfEachStep) {
  const Example example("bert_encoder_ts15");
  Planned planned(example, 8);
  const size_t steps = planned.plan->steps.size();
  ASSERT_EQ(planned.plan->infos.size(), steps);
  int64_t flops = 0;
  for (const StepInfo& info : planned.plan->infos) {
    EXPECT_FALSE(info.kind.empty());
    EXPECT_FALSE(info.label.empty());
    flops += info.work.flops;
  }
  EXPECT_EQ(flops, planned.plan->work.flops);
  std::vector<int64_t> begin(steps, -1), elapsed(steps, -1);
  StepTimes times{begin, elapsed};
  planned.args.times = &times;
  ASSERT_TRUE(Execute(*planned.plan, planned.args).ok());
  for (size_t i = 0; i < steps; ++i) {
    EXPECT_GE(elapsed[i], 0);
    EXPECT_GE(begin[i], i > 0 ? begin[i - 1] : 0);
  }
}

}  // namespace
}  // namespace sluice::graph

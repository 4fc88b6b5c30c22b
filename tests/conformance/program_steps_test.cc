// What running programs owe the loop: no heap in a step, and safepoints inside long ones. On the
// demo's models and the exported graphs that stand beside this file.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/files.h"
#include "graph/executor.h"
#include "graph/model.h"
#include "graph/test_graph.h"
#include "heap/heap_allocations.h"

namespace sluice::graph {
namespace {

// A program with inputs of zeros, ready to run.
struct Ready {
  std::shared_ptr<const Plan> plan;
  std::vector<tensor::Tensor> tensors;  // inputs, then outputs
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  tensor::Buffer memory;
  ExecuteArgs args;
};

tensor::Tensor Zeros(tensor::DType dtype, const tensor::Shape& shape) {
  tensor::Tensor tensor = tensor::Tensor::Allocate(dtype, shape, 1 << 30).value();
  std::fill_n(tensor.buffer.mutable_data(), tensor.buffer.bytes(), std::byte{0});
  return tensor;
}

// Every open dimension is `extent`. kInvalidArgument where the model does not take that.
base::Result<std::unique_ptr<Ready>> MakeReady(const Model& model, int64_t extent) {
  auto ready = std::make_unique<Ready>();
  std::vector<tensor::Shape> shapes;
  for (const TensorInterface& input : model.inputs()) {
    std::vector<int64_t> dims = input.dims;
    std::replace(dims.begin(), dims.end(), int64_t{-1}, extent);
    shapes.push_back(TRY(tensor::Shape::FromDims(dims)));
    ready->tensors.push_back(Zeros(input.dtype, shapes.back()));
    ready->inputs.push_back(ready->tensors.back().buffer.data());
  }
  ready->plan = TRY(model.PlanFor(shapes));
  if (ready->plan->interpreted) return base::Unimplemented("interpreted");
  for (size_t i = 0; i < model.outputs().size(); ++i) {
    ready->tensors.push_back(Zeros(model.outputs()[i].dtype, ready->plan->output_shapes[i]));
    ready->outputs.push_back(ready->tensors.back().buffer.mutable_data());
  }
  ready->memory = tensor::Buffer::Allocate(ready->plan->memory_bytes);
  ready->args.inputs = ready->inputs;
  ready->args.outputs = ready->outputs;
  ready->args.memory = ready->memory.mutable_data();
  ready->args.memory_bytes = ready->plan->memory_bytes;
  return ready;
}

std::vector<std::string> Models() {
  std::vector<std::string> paths = {"demo/models/click/1/model.onnx",
                                    "demo/models/package_encoder/1/model.onnx"};
  const std::string folder = "tests/conformance/graphs";
  const std::vector<base::FolderEntry> entries = base::ListFolder(folder).value();
  for (const base::FolderEntry& entry : entries) {
    const size_t at = entry.name.rfind(".onnx");
    if (at != std::string::npos && at + 5 == entry.name.size())
      paths.push_back(folder + "/" + entry.name);
  }
  return paths;
}

TEST(ProgramSteps, NoProgramOfARealModelTouchesTheHeap) {
  const int64_t at_start = heap::Allocations();
  int64_t programs = 0;
  for (const std::string& path : Models()) {
    base::Result<std::shared_ptr<const Model>> model = Model::Load(path, {});
    ASSERT_TRUE(model.ok()) << path << ": " << model.error().message;
    for (const int64_t extent : {1, 5}) {
      base::Result<std::unique_ptr<Ready>> ready = MakeReady(*model.value(), extent);
      if (!ready.ok()) continue;  // its open dimensions depend on each other, or on data
      ASSERT_TRUE(Execute(*ready.value()->plan, ready.value()->args).ok()) << path;
      const int64_t before = heap::Allocations();
      ASSERT_TRUE(Execute(*ready.value()->plan, ready.value()->args).ok()) << path;
      EXPECT_EQ(heap::Allocations() - before, 0) << path << " at " << extent;
      ++programs;
    }
  }
  EXPECT_GT(programs, 80);
  EXPECT_GT(heap::Allocations() - at_start, 10'000);  // the counter counts
}

bool CountSafepoint(void* count) {
  ++*static_cast<int64_t*>(count);
  return true;
}

// Runs the graph's only program with a quantum of 500 us and returns how often it could give way.
int64_t SafepointsOf(TestGraph graph) {
  OnnxModel source;
  source.graph = graph.Take();
  const std::shared_ptr<const Model> model = Model::Compile(std::move(source), {}).value();
  std::unique_ptr<Ready> ready = MakeReady(*model, 1).value();
  int64_t reached = 0;
  ready->args.safepoint = CountSafepoint;
  ready->args.safepoint_context = &reached;
  ready->args.quantum_ns = 500'000;
  EXPECT_TRUE(Execute(*ready->plan, ready->args).ok());
  return reached;
}

TEST(ProgramSteps, ALongReferenceStepGivesWayInsideItself) {
  TestGraph elementwise;
  elementwise.Output(
      "y", elementwise.Add("Sinh", {elementwise.Input("x", {Dim(1), Dim(400), Dim(1000)})}));
  EXPECT_GE(SafepointsOf(std::move(elementwise)), 5);

  TestGraph product;
  const tensor::DType f64 = tensor::DType::kF64;
  product.Output("y", product.Add("MatMul", {product.Input("a", {Dim(128), Dim(256)}, f64),
                                             product.Input("b", {Dim(256), Dim(128)}, f64)}));
  EXPECT_GE(SafepointsOf(std::move(product)), 5);

  TestGraph image;
  image.Output("y", image.Add("Conv", {image.Input("x", {Dim(1), Dim(16), Dim(40), Dim(40)}, f64),
                                       image.Input("w", {Dim(32), Dim(16), Dim(3), Dim(3)}, f64)}));
  EXPECT_GE(SafepointsOf(std::move(image)), 5);

  TestGraph sorted;
  sorted.Output(
      "y", sorted.Add("CumSum", {sorted.Input("x", {Dim(200), Dim(1000)}, f64), sorted.Ints({1})}));
  EXPECT_GE(SafepointsOf(std::move(sorted)), 2);
}

}  // namespace
}  // namespace sluice::graph

// Any bytes as an ONNX model: read, typed, verified and, where its interface is small, interpreted;
// what the interpreter takes is compiled and executed too, and must give outputs of the same types
// and shapes. Nothing may crash, and no limit may be passed.
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "graph/executor.h"
#include "graph/interpreter.h"
#include "graph/model.h"
#include "graph/onnx/reader.h"

namespace sluice {
namespace {

constexpr int64_t kExtent = 2;  // of every dimension that the model leaves open
constexpr int64_t kInputBytesMax = 1 << 16;

// Sequences at the interface hold kExtent tensors.
graph::OnnxReadOptions SmallLimits(std::string_view bytes) {
  graph::OnnxReadOptions options;
  const base::Result<std::vector<graph::OnnxInput>> inputs = graph::ListOnnxInputs(bytes);
  if (inputs.ok()) {
    for (const graph::OnnxInput& input : *inputs) {
      if (input.sequence) options.sequence_lengths[input.name] = kExtent;
    }
  }
  options.limits.nodes_max = 1000;
  options.limits.nesting_max = 4;
  options.limits.tensor_bytes_max = 1 << 20;
  options.limits.inline_bytes_max = 1 << 22;
  return options;
}

// Inputs for the interface with every symbol at kExtent; nullopt when they would be large.
std::optional<std::vector<tensor::Tensor>> MakeInputs(const graph::Graph& graph) {
  std::vector<tensor::Tensor> inputs;
  for (const graph::Value* value : graph.inputs()) {
    tensor::Shape shape;
    if (value->shape.has_value()) {
      for (const graph::Dim dim : *value->shape)
        shape.Append(dim.is_constant() ? dim.constant() : kExtent);
    }
    if (value->dtype == tensor::DType::kBytes) {
      const auto checked = tensor::CheckedBytes(shape, 16);
      if (!checked.ok() || *checked > kInputBytesMax) return std::nullopt;
      inputs.push_back(tensor::Tensor::FromStrings(
          shape, std::vector<std::string>(static_cast<size_t>(shape.elements()), "a")));
      continue;
    }
    base::Result<tensor::Tensor> tensor =
        tensor::Tensor::Allocate(value->dtype, shape, kInputBytesMax);
    if (!tensor.ok()) return std::nullopt;
    std::memset(tensor->buffer.mutable_data(), 1, static_cast<size_t>(tensor->buffer.bytes()));
    inputs.push_back(*std::move(tensor));
  }
  return inputs;
}

// Compiles the model and executes it on the same inputs.
void ExecuteCompiled(std::string_view bytes, const std::vector<tensor::Tensor>& inputs,
                     const std::vector<tensor::Tensor>& expected) {
  graph::CompileOptions options;
  options.read = SmallLimits(bytes);
  options.passes.folded_bytes_max = 1 << 20;
  options.interpreted_bytes_max = 1 << 20;
  const auto model = graph::Model::LoadBytes(bytes, options);
  CHECK(model.ok() || model.error().code != base::Code::kInternal) << model.error().message;
  if (!model.ok()) return;
  std::vector<tensor::Shape> shapes;
  std::vector<const void*> data;
  for (const tensor::Tensor& input : inputs) {
    shapes.push_back(input.shape);
    data.push_back(input.buffer.data());
  }
  const auto plan = (*model)->PlanFor(shapes);
  CHECK(plan.ok() || plan.error().code != base::Code::kInternal) << plan.error().message;
  if (!plan.ok() || (*plan)->interpreted || (*plan)->memory_bytes > 1 << 22) return;
  std::vector<tensor::Tensor> outputs;
  std::vector<void*> places;
  for (size_t i = 0; i < expected.size(); ++i) {
    CHECK((*model)->outputs()[i].dtype == expected[i].dtype);
    CHECK((*plan)->output_shapes[i] == expected[i].shape)
        << (*plan)->output_shapes[i].ToString() << expected[i].shape.ToString();
    outputs.push_back(*tensor::Tensor::Allocate(expected[i].dtype, expected[i].shape, INT64_MAX));
    places.push_back(outputs.back().buffer.mutable_data());
  }
  tensor::Buffer memory = tensor::Buffer::Allocate((*plan)->memory_bytes);
  graph::ExecuteArgs args;
  args.inputs = data;
  args.outputs = places;
  args.memory = memory.mutable_data();
  args.memory_bytes = (*plan)->memory_bytes;
  const base::Status status = graph::Execute(**plan, args);
  CHECK(status.ok() || status.error().code != base::Code::kInternal) << status.error().message;
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const base::Result<graph::OnnxModel> model = graph::ReadOnnx(bytes, nullptr, SmallLimits(bytes));
  if (!model.ok()) {
    // A graph that the reader made and the verifier refuses is the reader's fault.
    CHECK(model.error().code != base::Code::kInternal) << model.error().message;
    return 0;
  }
  const std::optional<std::vector<tensor::Tensor>> inputs = MakeInputs(*model->graph);
  if (!inputs.has_value()) return 0;
  const auto outputs =
      graph::Interpreter(*model->graph,
                         {.bytes_max = 1 << 20, .work_max = 1 << 24, .iterations_max = 64})
          .Run(*inputs);
  CHECK(outputs.ok() || outputs.error().code != base::Code::kInternal) << outputs.error().message;
  if (outputs.ok()) ExecuteCompiled(bytes, *inputs, *outputs);
  return 0;
}

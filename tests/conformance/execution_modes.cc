#include "conformance/execution_modes.h"

#include <string>

#include "conformance/heap_allocations.h"
#include "graph/executor.h"
#include "graph/interpreter.h"
#include "graph/model.h"

namespace sluice::conformance {
namespace {

base::Result<std::vector<tensor::Tensor>> Interpret(graph::Graph& graph,
                                                    std::span<const tensor::Tensor> inputs) {
  return graph::Interpreter(graph).Run(inputs);
}

// What a server runs: passes, a plan for these shapes, the compiled program.
// A second run of the program may not touch the heap.
base::Result<std::vector<tensor::Tensor>> CompileFor(graph::MachineRates rates, graph::Graph& graph,
                                                     std::span<const tensor::Tensor> inputs) {
  constexpr int64_t kBytesMax = int64_t{1} << 30;
  graph::OnnxModel source;
  source.graph = graph::Clone(graph);
  graph::CompileOptions options;
  options.rates = rates;
  const std::shared_ptr<const graph::Model> model =
      TRY(graph::Model::Compile(std::move(source), options));
  std::vector<tensor::Shape> shapes;
  std::vector<const void*> data;
  for (const tensor::Tensor& input : inputs) {
    shapes.push_back(input.shape);
    data.push_back(input.buffer.data());
  }
  const std::shared_ptr<const graph::Plan> plan = TRY(model->PlanFor(shapes));
  if (plan->interpreted) return model->Interpret(inputs);
  std::vector<tensor::Tensor> outputs;
  std::vector<void*> places;
  for (size_t i = 0; i < model->outputs().size(); ++i) {
    outputs.push_back(TRY(
        tensor::Tensor::Allocate(model->outputs()[i].dtype, plan->output_shapes[i], kBytesMax)));
    places.push_back(outputs.back().buffer.mutable_data());
  }
  tensor::Buffer memory = tensor::Buffer::Allocate(plan->memory_bytes);
  graph::ExecuteArgs args;
  args.inputs = data;
  args.outputs = places;
  args.memory = memory.mutable_data();
  args.memory_bytes = plan->memory_bytes;
  TRY(graph::Execute(*plan, args));
  const int64_t before = HeapAllocations();
  TRY(graph::Execute(*plan, args));
  const int64_t made = HeapAllocations() - before;
  if (before == 0) return base::Internal("the counter of heap allocations counts nothing");
  if (made > 0)
    return base::Internal("the program makes " + std::to_string(made) + " heap allocations a run");
  return outputs;
}

base::Result<std::vector<tensor::Tensor>> Compile(graph::Graph& graph,
                                                  std::span<const tensor::Tensor> inputs) {
  return CompileFor({}, graph, inputs);
}

// Reference steps cut as far as they go, so that small tests have tiles too.
base::Result<std::vector<tensor::Tensor>> CompileInTiles(graph::Graph& graph,
                                                         std::span<const tensor::Tensor> inputs) {
  return CompileFor({.reference_tile_ns = 1}, graph, inputs);
}

constexpr ExecutionMode kModes[] = {
    {"interpreter", Interpret},
    {"compiled", Compile},
    {"tiles", CompileInTiles},
};

}  // namespace

const ExecutionMode* FindExecutionMode(std::string_view name) {
  for (const ExecutionMode& mode : kModes) {
    if (mode.name == name) return &mode;
  }
  return nullptr;
}

}  // namespace sluice::conformance

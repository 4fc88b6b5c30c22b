#include "conformance/execution_modes.h"

#include <string>

#include <algorithm>
#include <cmath>
#include "heap/heap_allocations.h"

#include "graph/executor.h"
#include "graph/interpreter.h"
#include "graph/model.h"
#include "graph/test_values.h"

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
  const int64_t before = heap::Allocations();
  TRY(graph::Execute(*plan, args));
  const int64_t made = heap::Allocations() - before;
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

// The largest magnitude of a float tensor's finite elements.
double LargestOf(const tensor::ConstView& view) {
  double largest = 0;
  for (int64_t i = 0; i < view.shape.elements(); ++i) {
    const double size = std::fabs(graph::ValueAt(view, i));
    if (std::isfinite(size)) largest = std::max(largest, size);
  }
  return largest;
}

// Optimised against unoptimised. Sums in another order differ by units in the last place of the
// largest number that took part: of the output's largest, kUlps.
base::Status CompareUlps(const tensor::Tensor& plain, const tensor::Tensor& optimised) {
  constexpr double kUlps = 64;
  if (plain.dtype != optimised.dtype || !(plain.shape == optimised.shape))
    return base::Internal("the optimised plan makes another type or shape");
  const tensor::ConstView e = plain.view();
  const tensor::ConstView a = optimised.view();
  if (!tensor::IsFloat(e.dtype)) return base::Ok();  // compared with what is expected, bit by bit
  const double ulp = e.dtype == tensor::DType::kBF16  ? 0x1p-8
                     : e.dtype == tensor::DType::kF16 ? 0x1p-11
                                                      : 0x1p-24;
  const bool narrow = e.dtype == tensor::DType::kBF16 || e.dtype == tensor::DType::kF16;
  const double tolerance = (narrow ? 2 : kUlps) * ulp * LargestOf(e);
  for (int64_t i = 0; i < e.shape.elements(); ++i) {
    const double x = graph::ValueAt(e, i);
    const double y = graph::ValueAt(a, i);
    const bool same = (std::isnan(x) && std::isnan(y)) || x == y || std::fabs(x - y) <= tolerance;
    if (!same) {
      return base::Internal("element " + std::to_string(i) + " is " + std::to_string(x) +
                            " unoptimised, " + std::to_string(y) + " optimised");
    }
  }
  return base::Ok();
}

base::Result<std::vector<tensor::Tensor>> CompareExecutions(
    graph::Graph& graph, std::span<const tensor::Tensor> inputs) {
  std::vector<tensor::Tensor> optimised = TRY(Compile(graph, inputs));
  const std::vector<tensor::Tensor> plain = TRY(Interpret(graph, inputs));
  for (size_t i = 0; i < plain.size(); ++i) TRY(CompareUlps(plain[i], optimised[i]));
  return optimised;
}

constexpr ExecutionMode kModes[] = {
    {"interpreter", Interpret},
    {"compiled", Compile},
    {"differential", CompareExecutions},
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

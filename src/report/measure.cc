#include "report/measure.h"

#include <algorithm>
#include <numeric>

#include "graph/executor.h"
#include "tensor/arena.h"

namespace sluice::report {
namespace {

constexpr int64_t kOutputBytesMax = int64_t{1} << 32;

int64_t Median(std::vector<int64_t>& values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

base::Result<Timing> Measure(const Opened& opened, int64_t runs) {
  const graph::Plan& plan = *opened.plan;
  if (plan.interpreted) {
    return base::Unimplemented("the model runs in the interpreter, which has no steps: " +
                               opened.model->interpreted_reason());
  }
  const std::vector<tensor::Tensor> inputs = TRY(SyntheticInputs(opened));
  std::vector<const void*> input_data;
  for (const auto& input : inputs) input_data.push_back(input.buffer.data());
  std::vector<tensor::Tensor> outputs;
  std::vector<void*> output_data;
  for (size_t i = 0; i < plan.output_shapes.size(); ++i) {
    outputs.push_back(TRY(tensor::Tensor::Allocate(opened.model->outputs()[i].dtype,
                                                   plan.output_shapes[i], kOutputBytesMax)));
    output_data.push_back(outputs.back().buffer.mutable_data());
  }
  tensor::Arena arena = TRY(tensor::Arena::Create(plan.memory_bytes));
  const size_t steps = plan.steps.size();
  Timing timing;
  timing.runs = std::max<int64_t>(runs, 1);
  timing.begin_ns.resize(steps);
  std::vector<int64_t> elapsed(steps);
  graph::StepTimes times{timing.begin_ns, elapsed};
  graph::ExecuteArgs args;
  args.inputs = input_data;
  args.outputs = output_data;
  args.memory = arena.data();
  args.memory_bytes = arena.capacity();
  args.times = &times;
  TRY(graph::Execute(plan, args));
  std::vector<std::vector<int64_t>> samples(steps);
  for (int64_t run = 0; run < timing.runs; ++run) {
    TRY(graph::Execute(plan, args));
    for (size_t i = 0; i < steps; ++i) samples[i].push_back(elapsed[i]);
  }
  for (auto& sample : samples) timing.median_ns.push_back(Median(sample));
  timing.total_ns = std::accumulate(timing.median_ns.begin(), timing.median_ns.end(), int64_t{0});
  return timing;
}

}  // namespace sluice::report

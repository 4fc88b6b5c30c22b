#include "infer/serve_step.h"

#include <algorithm>
#include <cstring>

#include "graph/executor.h"
#include "tensor/align.h"

namespace sluice::infer {
namespace {

constexpr int64_t kAlign = static_cast<int64_t>(tensor::kAlignment);

bool ReachSafepoint(void* context) {
  return static_cast<engine::Safepoint*>(context)->Reach();
}

// Rows [first, first + count) of some of the step's members, and where their outputs go.
struct Range {
  std::span<const std::unique_ptr<engine::Request>> members;
  int64_t members_first = 0;  // the row of the step at which these members begin
  int64_t first = 0;          // row of the step
  int64_t count = 0;
};

// The rows of input `index` in one piece: where they lie when one request holds them all, else
// gathered into `memory`.
const void* Rows(const ServedModel& served, const Range& range, size_t index, std::byte* memory) {
  const graph::TensorInterface& interface = served.graph->inputs()[index];
  const int64_t element_bytes = tensor::DTypeSize(interface.dtype);
  int64_t at = range.members_first;
  std::byte* to = memory;
  for (const std::unique_ptr<engine::Request>& member : range.members) {
    const PreparedRequest& prepared = PreparedOf(*member);
    const tensor::Tensor& tensor = prepared.inputs[index];
    if (served.rows_max == 0) return tensor.buffer.data();
    const int64_t begin = std::max(at, range.first);
    const int64_t end = std::min(at + prepared.rows, range.first + range.count);
    const int64_t row_bytes =
        prepared.rows == 0 ? 0 : tensor.shape.elements() / prepared.rows * element_bytes;
    const std::byte* const from = tensor.buffer.data() + (begin - at) * row_bytes;
    if (begin == range.first && end == range.first + range.count) return from;
    if (begin < end) {
      std::memcpy(to, from, static_cast<size_t>((end - begin) * row_bytes));
      to += (end - begin) * row_bytes;
    }
    at += prepared.rows;
  }
  return memory;
}

base::Status RunRange(const ServedModel& served, ServeStep& step, const graph::Plan& plan,
                      const Range& range, engine::Exec& exec, engine::Safepoint& safepoint) {
  std::byte* gathered = exec.memory + tensor::AlignUp(plan.memory_bytes);
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    step.inputs[i] = Rows(served, range, i, gathered);
    if (step.inputs[i] == gathered) {
      gathered += tensor::AlignUp(plan.input_shapes[i].elements() *
                                  tensor::DTypeSize(served.graph->inputs()[i].dtype));
    }
  }
  for (size_t i = 0; i < step.outputs.size(); ++i) {
    step.outputs[i] = step.answer.get() + step.answer_offsets[i] + range.first * step.row_bytes[i];
  }
  graph::ExecuteArgs args;
  args.inputs = step.inputs;
  args.outputs = step.outputs;
  args.memory = exec.memory;
  args.memory_bytes = exec.memory_bytes;
  args.pool = exec.pool;
  args.safepoint = ReachSafepoint;
  args.safepoint_context = &safepoint;
  args.quantum_ns = safepoint.quantum().ns;
  return graph::Execute(plan, args);
}

// All rows of `range`, part by part.
base::Status RunParts(const ServedModel& served, ServeStep& step, Range range,
                      std::span<const Part> parts, engine::Exec& exec,
                      engine::Safepoint& safepoint) {
  const int64_t end = range.first + range.count;
  for (const Part& part : parts) {
    for (int64_t i = 0; i < part.count; ++i) {
      range.count = part.rows;
      TRY(RunRange(served, step, *part.plan, range, exec, safepoint));
      range.first += part.rows;
      if (range.first < end && !safepoint.Reach()) return base::Cancelled("the step was abandoned");
    }
  }
  return base::Ok();
}

void Interpret(const ServedModel& served, ServeStep& step) {
  for (size_t i = 0; i < step.members.size(); ++i) {
    base::Result<std::vector<tensor::Tensor>> outputs =
        served.graph->Interpret(PreparedOf(*step.members[i]).inputs);
    if (outputs.ok()) {
      step.interpreted[i] = std::move(outputs).value();
    } else {
      step.member_status[i] = outputs.error();
    }
  }
}

// Member `index`, whose rows begin at row `first` of the step, by itself.
base::Status RunMember(const ServedModel& served, ServeStep& step, size_t index, int64_t first,
                       engine::Exec& exec, engine::Safepoint& safepoint) {
  const int64_t rows = PreparedOf(*step.members[index]).rows;
  step.family->Choose(rows, step.member_parts);
  const Range range{std::span(step.members).subspan(index, 1), first, first, rows};
  return RunParts(served, step, range, step.member_parts, exec, safepoint);
}

// One request's data were wrong: every member runs by itself, so that only that one fails.
void RunApart(const ServedModel& served, ServeStep& step, engine::Exec& exec,
              engine::Safepoint& safepoint) {
  int64_t first = 0;
  for (size_t i = 0; i < step.members.size(); ++i) {
    step.member_status[i] = RunMember(served, step, i, first, exec, safepoint);
    first += PreparedOf(*step.members[i]).rows;
  }
}

}  // namespace

base::Status FormStep(const ServedModel& served, tensor::BufferPool& answers, ServeStep& step) {
  step.member_status.assign(step.members.size(), base::Ok());
  step.parts.clear();
  step.family = PreparedOf(*step.members[0]).family.get();
  step.row_count = 0;
  for (const auto& member : step.members) step.row_count += PreparedOf(*member).rows;
  if (served.graph->interpreted()) {
    step.interpreted.assign(step.members.size(), {});
    return base::Ok();
  }
  step.family->Choose(step.row_count, step.parts);
  const graph::Plan& plan = step.family->first();
  const bool rows_apart = served.rows_max > 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < step.outputs.size(); ++i) {
    const int64_t own =
        plan.output_shapes[i].elements() * tensor::DTypeSize(served.graph->outputs()[i].dtype);
    step.row_bytes[i] = rows_apart ? own : 0;
    step.answer_offsets[i] = bytes;
    bytes += tensor::AlignUp(rows_apart ? own * step.row_count : own);
  }
  step.answer = TRY(answers.Take(bytes));
  return base::Ok();
}

int64_t RunBytes(const ServedModel& served, const graph::Plan& plan) {
  int64_t bytes = plan.memory_bytes;
  for (size_t i = 0; i < plan.input_shapes.size(); ++i) {
    bytes += plan.input_shapes[i].elements() * tensor::DTypeSize(served.graph->inputs()[i].dtype) +
             kAlign;
  }
  return bytes;
}

void RunStep(const ServedModel& served, ServeStep& step, engine::Exec& exec,
             engine::Safepoint& safepoint) {
  if (served.graph->interpreted()) return Interpret(served, step);
  const Range all{step.members, 0, 0, step.row_count};
  base::Status status = RunParts(served, step, all, step.parts, exec, safepoint);
  if (!status.ok() && status.error().code == base::Code::kInvalidArgument &&
      step.members.size() > 1) {
    return RunApart(served, step, exec, safepoint);
  }
  step.status = std::move(status);
}

std::vector<tensor::NamedTensor> AnswerOf(const ServedModel& served, const ServeStep& step,
                                          PreparedRequest& prepared, MemberAt member) {
  std::vector<tensor::NamedTensor> outputs = std::move(prepared.answer);
  for (size_t i = 0; i < prepared.outputs.size(); ++i) {
    const auto at = static_cast<size_t>(prepared.outputs[i]);
    if (served.graph->interpreted()) {
      outputs.push_back({served.graph->outputs()[at].name, step.interpreted[member.index][at]});
      continue;
    }
    const std::byte* const from =
        step.answer.get() + step.answer_offsets[at] + member.first * step.row_bytes[at];
    tensor::Tensor& tensor = outputs[i].tensor;
    tensor.buffer = tensor::Buffer::Wrap(step.answer, from, tensor.view().bytes());
  }
  return outputs;
}

}  // namespace sluice::infer

#include "infer/ragged_step.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "graph/executor.h"
#include "infer/ragged_plans.h"
#include "tensor/align.h"

namespace sluice::infer {
namespace {

using graph::RaggedForm;
using tensor::DType;
using tensor::Tensor;

// Tokens before the padding of one row; nullopt when the row is no ones followed by zeros alone.
template <class T>
std::optional<int32_t> LengthOf(const T* mask, int64_t extent) {
  int64_t length = 0;
  while (length < extent && mask[length] == T{1}) ++length;
  for (int64_t i = length; i < extent; ++i) {
    if (mask[i] != T{0}) return std::nullopt;
  }
  if (length == 0) return std::nullopt;
  return static_cast<int32_t>(length);
}

std::optional<int32_t> LengthOf(const Tensor& mask, int64_t row) {
  const int64_t extent = mask.shape[1];
  const tensor::ConstView view = mask.view();
  switch (mask.dtype) {
    case DType::kI64:
      return LengthOf(view.as<int64_t>() + row * extent, extent);
    case DType::kI32:
      return LengthOf(view.as<int32_t>() + row * extent, extent);
    case DType::kF32:
      return LengthOf(view.as<float>() + row * extent, extent);
    case DType::kBool:
      // Bytes of a client, which need not be 0 or 1.
      return LengthOf(view.as<uint8_t>() + row * extent, extent);
    default:
      return std::nullopt;
  }
}

// Whether all inputs that have tokens have those of the mask.
bool ShapesAgree(const RaggedForm& form, const PreparedRequest& prepared, const Tensor& mask) {
  for (const RaggedForm::Input& input : form.inputs) {
    if (input.index < 0) continue;
    const tensor::Shape& shape = prepared.shapes[static_cast<size_t>(input.index)];
    if (shape.rank() < 1 || shape[0] != mask.shape[0]) return false;
    if (input.feed == RaggedForm::Feed::kTokens && shape[1] != mask.shape[1]) return false;
  }
  return true;
}

// Sequences [first, first + count) of the step, all within the plan's rows.
struct Cut {
  int64_t first = 0;
  int64_t end = 0;
};

// Cuts the step's sequences into runs that plans hold, of about equal size.
void CutParts(const RaggedPlans& plans, std::span<const SequenceAt> sequences, Cut cut,
              std::vector<RaggedPart>& parts) {
  parts.clear();
  int64_t rows = 0;
  for (int64_t i = cut.first; i < cut.end; ++i) rows += sequences[static_cast<size_t>(i)].length;
  const int64_t most = std::min(plans.rows_max(), RaggedPlans::kPartRows);
  const int64_t count = std::max<int64_t>(1, (rows + most - 1) / most);
  const int64_t target = (rows + count - 1) / count;
  RaggedPart part;
  part.first = cut.first;
  const auto close = [&] {
    const RaggedPlans::Choice choice = plans.Choose(part.rows, part.count);
    CHECK(choice.plan != nullptr) << "a part of " << part.rows << " rows";
    part.plan = choice.plan;
    part.size = choice.size;
    parts.push_back(part);
    part = {};
    part.first = parts.back().first + parts.back().count;
  };
  for (int64_t i = cut.first; i < cut.end; ++i) {
    const int64_t length = sequences[static_cast<size_t>(i)].length;
    const bool full = part.rows >= target || part.rows + length > most ||
                      part.count == RaggedPlans::SequencesFor(plans.rows_max());
    if (part.count > 0 && full) close();
    part.rows += length;
    ++part.count;
  }
  if (part.count > 0) close();
}

// Fills the program's input `feed` at `to`.
void FillInput(const ServedModel& served, const ServeStep& step, const RaggedPart& part,
               const RaggedForm::Input& feed, const tensor::Shape& shape, std::byte* to) {
  const auto sequences =
      std::span(step.sequences)
          .subspan(static_cast<size_t>(part.first), static_cast<size_t>(part.count));
  if (feed.feed == RaggedForm::Feed::kStarts) {
    int32_t* const starts = reinterpret_cast<int32_t*>(to);
    int32_t at = 0;
    int64_t i = 0;
    for (const SequenceAt& sequence : sequences) {
      starts[i++] = at;
      at += sequence.length;
    }
    std::fill(starts + i, starts + shape[0], at);
    return;
  }
  if (feed.feed == RaggedForm::Feed::kPositions) {
    int64_t* const positions = reinterpret_cast<int64_t*>(to);
    int64_t at = 0;
    for (const SequenceAt& sequence : sequences) {
      for (int64_t i = 0; i < sequence.length; ++i) positions[at++] = i;
    }
    std::fill(positions + at, positions + shape[0], 0);
    return;
  }
  const auto index = static_cast<size_t>(feed.index);
  const int64_t element_bytes = tensor::DTypeSize(served.graph->inputs()[index].dtype);
  const bool tokens = feed.feed == RaggedForm::Feed::kTokens;
  const int64_t row_bytes = shape.elements(tokens ? 2 : 1, shape.rank()) * element_bytes;
  const std::byte* const end = to + shape.elements() * element_bytes;
  for (const SequenceAt& sequence : sequences) {
    const Tensor& input =
        PreparedOf(*step.members[static_cast<size_t>(sequence.member)]).inputs[index];
    const int64_t stride = tokens ? input.shape[1] * row_bytes : row_bytes;
    const int64_t bytes = tokens ? sequence.length * row_bytes : row_bytes;
    std::memcpy(to, input.buffer.data() + sequence.row * stride, static_cast<size_t>(bytes));
    to += bytes;
  }
  // Rows behind the last sequence hold valid ids of nobody.
  std::memset(to, 0, static_cast<size_t>(end - to));
}

// The outputs that each sequence's request asked for, padded as its inputs were.
void Deliver(const ServedModel& served, const ServeStep& step, const RaggedPart& part) {
  const RaggedForm& form = *served.graph->ragged();
  int64_t row = 0;
  for (int64_t i = 0; i < part.count; ++i) {
    const SequenceAt& sequence = step.sequences[static_cast<size_t>(part.first + i)];
    const PreparedRequest& prepared =
        PreparedOf(*step.members[static_cast<size_t>(sequence.member)]);
    for (size_t asked = 0; asked < prepared.outputs.size(); ++asked) {
      const auto output = static_cast<size_t>(prepared.outputs[asked]);
      const Tensor& answer = prepared.answer[asked].tensor;
      const int64_t size = answer.shape.elements() * tensor::DTypeSize(answer.dtype);
      const int64_t own = size / prepared.rows;  // bytes of one sequence
      std::byte* const to = step.answer.get() + prepared.answer_offsets[asked] + sequence.row * own;
      const auto* const from = static_cast<const std::byte*>(step.outputs[output]);
      if (form.outputs[output] == RaggedForm::Delivery::kSequences) {
        std::memcpy(to, from + i * own, static_cast<size_t>(own));
        continue;
      }
      const int64_t token_bytes = own / answer.shape[1];
      const int64_t bytes = sequence.length * token_bytes;
      std::memcpy(to, from + row * token_bytes, static_cast<size_t>(bytes));
      std::memset(to + bytes, 0, static_cast<size_t>(own - bytes));
    }
    row += sequence.length;
  }
}

base::Status RunPart(const ServedModel& served, ServeStep& step, const RaggedPart& part,
                     engine::Exec& exec, engine::Safepoint& safepoint) {
  const RaggedForm& form = *served.graph->ragged();
  std::byte* at = exec.memory + tensor::AlignUp(part.plan->memory_bytes);
  for (size_t i = 0; i < form.inputs.size(); ++i) {
    const tensor::Shape& shape = part.plan->input_shapes[i];
    FillInput(served, step, part, form.inputs[i], shape, at);
    step.ragged_inputs[i] = at;
    const int index = form.inputs[i].index;
    const int64_t size =
        index < 0 ? 8 : tensor::DTypeSize(served.graph->inputs()[static_cast<size_t>(index)].dtype);
    at += tensor::AlignUp(shape.elements() * size);
  }
  for (size_t i = 0; i < step.outputs.size(); ++i) {
    step.outputs[i] = at;
    at += tensor::AlignUp(part.plan->output_shapes[i].elements() *
                          tensor::DTypeSize(served.graph->outputs()[i].dtype));
  }
  CHECK_LE(at - exec.memory, exec.memory_bytes);
  graph::ExecuteArgs args;
  args.inputs = step.ragged_inputs;
  args.outputs = step.outputs;
  args.memory = exec.memory;
  args.memory_bytes = exec.memory_bytes;
  args.pool = exec.pool;
  args.safepoint = [](void* context) { return static_cast<engine::Safepoint*>(context)->Reach(); };
  args.safepoint_context = &safepoint;
  args.quantum_ns = safepoint.quantum().ns;
  TRY(graph::Execute(*part.plan, args));
  Deliver(served, step, part);
  return base::Ok();
}

base::Status RunParts(const ServedModel& served, ServeStep& step,
                      const std::vector<RaggedPart>& parts, engine::Exec& exec,
                      engine::Safepoint& safepoint) {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && !safepoint.Reach()) return base::Cancelled("the step was abandoned");
    TRY(RunPart(served, step, parts[i], exec, safepoint));
  }
  return base::Ok();
}

}  // namespace

base::Status PrepareRagged(const ServedModel& served, PreparedRequest& prepared) {
  if (served.ragged == nullptr) return base::Ok();
  const RaggedForm& form = *served.graph->ragged();
  const Tensor& mask = prepared.inputs[static_cast<size_t>(form.mask_input)];
  const int64_t rows = mask.shape[0];
  if (rows < 1 || !ShapesAgree(form, prepared, mask)) return base::Ok();
  if (mask.shape[1] > form.length_max) return base::Ok();
  std::vector<int32_t> lengths;
  lengths.reserve(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    const std::optional<int32_t> length = LengthOf(mask, row);
    if (!length.has_value() || *length > served.ragged->rows_max()) return base::Ok();
    lengths.push_back(*length);
  }
  const graph::Plan& plan = *served.ragged->Choose(1, 1).plan;
  double bytes = 0;
  for (size_t i = 0; i < prepared.outputs.size(); ++i) {
    const auto output = static_cast<size_t>(prepared.outputs[i]);
    const tensor::Shape& from = plan.output_shapes[output];
    tensor::Shape shape = from;
    shape.set_dim(0, rows);
    if (form.outputs[output] == RaggedForm::Delivery::kTokens) shape.set_dim(1, mask.shape[1]);
    prepared.answer[i].tensor.shape = shape;
    bytes += static_cast<double>(shape.elements()) *
             static_cast<double>(tensor::DTypeSize(prepared.answer[i].tensor.dtype));
  }
  if (bytes > static_cast<double>(served.options.output_bytes_max)) {
    return base::InvalidArgument(
        "the answer would take " + std::to_string(static_cast<int64_t>(bytes)) +
        " bytes, above the limit of " + std::to_string(served.options.output_bytes_max));
  }
  if (served.options.planner == nullptr) {
    // Nobody else makes the plans that fit.
    std::vector<SequenceAt> sequences;
    for (const int32_t length : lengths) sequences.push_back({0, length, 0});
    std::vector<RaggedPart> parts;
    CutParts(*served.ragged, sequences, {0, rows}, parts);
    for (const RaggedPart& part : parts) {
      served.ragged->AddPlan(RaggedPlans::SizeFor(std::max(part.rows, 2 * part.count)));
    }
  }
  prepared.answer_offsets.resize(prepared.outputs.size());
  prepared.lengths = std::move(lengths);
  prepared.rows = rows;
  prepared.shape = kRaggedShape;
  prepared.complete = true;
  return base::Ok();
}

base::Status FormRagged(const ServedModel& served, tensor::BufferPool& answers, ServeStep& step) {
  step.member_status.assign(step.members.size(), base::Ok());
  step.family = nullptr;
  step.parts.clear();
  step.sequences.clear();
  step.row_count = 0;
  int64_t bytes = 0;
  for (size_t member = 0; member < step.members.size(); ++member) {
    PreparedRequest& prepared = MutablePreparedOf(*step.members[member]);
    for (size_t row = 0; row < prepared.lengths.size(); ++row) {
      step.sequences.push_back(
          {static_cast<int32_t>(member), prepared.lengths[row], static_cast<int64_t>(row)});
    }
    for (size_t i = 0; i < prepared.outputs.size(); ++i) {
      prepared.answer_offsets[i] = bytes;
      bytes += tensor::AlignUp(prepared.answer[i].tensor.shape.elements() *
                               tensor::DTypeSize(prepared.answer[i].tensor.dtype));
    }
  }
  step.row_count = static_cast<int64_t>(step.sequences.size());
  CutParts(*served.ragged, step.sequences, {0, step.row_count}, step.ragged_parts);
  step.answer = TRY(answers.Take(bytes));
  return base::Ok();
}

void RunRagged(const ServedModel& served, ServeStep& step, engine::Exec& exec,
               engine::Safepoint& safepoint) {
  base::Status status = RunParts(served, step, step.ragged_parts, exec, safepoint);
  if (status.ok() || status.error().code != base::Code::kInvalidArgument ||
      step.members.size() == 1) {
    step.status = std::move(status);
    return;
  }
  // One request's data were wrong: every member runs by itself, so that only that one fails.
  int64_t first = 0;
  for (size_t i = 0; i < step.members.size(); ++i) {
    const int64_t rows = PreparedOf(*step.members[i]).rows;
    CutParts(*served.ragged, step.sequences, {first, first + rows}, step.member_ragged_parts);
    step.member_status[i] = RunParts(served, step, step.member_ragged_parts, exec, safepoint);
    first += rows;
  }
}

std::vector<tensor::NamedTensor> RaggedAnswerOf(const ServeStep& step, PreparedRequest& prepared) {
  std::vector<tensor::NamedTensor> outputs = std::move(prepared.answer);
  for (size_t i = 0; i < outputs.size(); ++i) {
    Tensor& tensor = outputs[i].tensor;
    tensor.buffer = tensor::Buffer::Wrap(
        step.answer, step.answer.get() + prepared.answer_offsets[i], tensor.view().bytes());
  }
  return outputs;
}

}  // namespace sluice::infer

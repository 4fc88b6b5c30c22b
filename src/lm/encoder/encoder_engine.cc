#include "lm/encoder/encoder_engine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "lm/encoder/encoder_task.h"
#include "lm/request_fields.h"
#include "lm/task/text_task.h"
#include "tensor/align.h"

namespace sluice::lm {
namespace {

// Of a prior: one lane's f32 products and reading memory. Measured steps correct it.
constexpr double kFlopsPerNs = 40;
constexpr double kBytesPerNs = 8;

EncoderQueue::Options QueueOf(const EncoderModel::Options& options) {
  EncoderQueue::Options queue;
  queue.step_units_max = options.step_rows_max;
  queue.step_sequences_max = options.step_rows_max;
  queue.priority_levels = std::clamp(options.priority_levels, 1, engine::Backlog::kLevelsMax);
  queue.priority_default = std::clamp(options.priority_default, 1, queue.priority_levels);
  queue.requests_max = options.queue_requests_max;
  return queue;
}

EncoderTask& TaskOf(const EncoderQueue::Entry& entry) {
  return static_cast<EncoderTask&>(*entry.request->prepared);
}

}  // namespace

// What a step computes. The requests that it points to stay until it is committed.
struct EncoderEngine::EncoderStep : engine::Step {
  bool wanted(base::Time now) const override {
    return probe || std::any_of(members.begin(), members.end(), [&](const auto& member) {
             const engine::Call& call = *member.entry->request->call;
             return !call.cancelled() && !call.expired(now);
           });
  }

  std::vector<EncoderQueue::Member> members;
  EncoderRows sequences;
  int64_t units = 0;
};

EncoderEngine::EncoderEngine(std::shared_ptr<const EncoderModel> model)
    : model_(std::move(model)),
      costs_([this](uint64_t, int64_t units) { return PriorOf(units); }),
      queue_(QueueOf(model_->options), costs_) {}

EncoderEngine::~EncoderEngine() {
  CHECK_EQ(pending(), 0) << "destroyed while it holds requests";
}

int64_t EncoderEngine::rows_max() const {
  return std::max(model_->options.step_rows_max, model_->length_max);
}

base::Duration EncoderEngine::PriorOf(int64_t units) const {
  const auto bytes = static_cast<double>(model_->encoder.weight_bytes());
  const double flops =
      2.0 * static_cast<double>(model_->encoder.parameters()) * static_cast<double>(units);
  return {static_cast<int64_t>(std::max(bytes / kBytesPerNs, flops / kFlopsPerNs))};
}

base::Duration EncoderEngine::PrepareCost(const engine::Request& request) const {
  return PrepareCostOf(request);
}

base::Status EncoderEngine::Prepare(engine::Request& request) const {
  request.answer =
      TRY(AnswerTextTask(request, {model_->text.get(), description().model,
                                   model_->encoder.config().vocabulary, model_->length_max}));
  if (request.answer.has_value()) return base::Ok();
  auto task = std::make_unique<EncoderTask>();
  TRY(ReadEncoderTask(request, *model_, *task));
  request.rows = 1;
  request.units = task->units;
  request.prepared = std::move(task);
  return base::Ok();
}

engine::MemoryUse EncoderEngine::memory() const {
  const int64_t activations = tensor::AlignUp(model_->encoder.MemoryBytes(rows_max())) +
                              model_->head.MemoryBytes(model_->options.step_rows_max);
  return {model_->encoder.weight_bytes() + model_->head.weight_bytes(), activations, 0};
}

std::unique_ptr<engine::Step> EncoderEngine::MakeStep(int) {
  auto step = std::make_unique<EncoderStep>();
  step->members.reserve(static_cast<size_t>(model_->options.step_rows_max));
  step->sequences.Reserve(rows_max(), model_->options.step_rows_max);
  return step;
}

engine::Admission EncoderEngine::Admit(std::unique_ptr<engine::Request>& request,
                                       const engine::Outlook& outlook) {
  const auto& task = static_cast<const EncoderTask&>(*request->prepared);
  std::vector<int32_t> units;
  units.reserve(static_cast<size_t>(task.sequences()));
  for (int64_t i = 0; i < task.sequences(); ++i) {
    units.push_back(static_cast<int32_t>(model_->UnitsOf(task.LengthOf(i))));
  }
  return queue_.Add(request, std::move(units), outlook);
}

void EncoderEngine::OnEvent(const engine::Event&, const engine::Outlook&, engine::Replies&) {}

bool EncoderEngine::Form(const engine::Offer& offer, engine::Step& base_step,
                         engine::Replies& replies) {
  auto& step = static_cast<EncoderStep&>(base_step);
  step.probe = false;
  if (!queue_.Take(offer, step, step.members, replies)) return false;
  step.sequences.Clear();
  for (const EncoderQueue::Member& member : step.members) {
    const EncoderTask& task = TaskOf(*member.entry);
    for (int64_t i = member.first; i < member.first + member.count; ++i) {
      step.sequences.Add(task.TokensOf(i), task.TypesOf(i));
    }
  }
  step.units = step.rows;
  step.rows = step.sequences.rows();
  return true;
}

void EncoderEngine::Launch(engine::Step& base_step, engine::Exec& exec,
                           engine::Safepoint& safepoint) {
  auto& step = static_cast<EncoderStep&>(base_step);
  std::byte* const memory =
      exec.memory + tensor::AlignUp(model_->encoder.MemoryBytes(step.sequences.rows()));
  Runner runner({.pool = exec.pool, .safepoint = &safepoint});
  const float* const hidden = model_->encoder.Run(step.sequences, exec.memory, runner);
  if (hidden == nullptr) return;
  const float* vector = model_->head.Run(hidden, step.sequences, memory, runner);
  if (vector == nullptr) return;
  for (const EncoderQueue::Member& member : step.members) {
    EncoderTask& task = TaskOf(*member.entry);
    for (int64_t i = member.first; i < member.first + member.count; ++i) {
      task.SetVector(i, vector);
      vector += model_->head.width();
    }
    if (member.entry->done + member.count == task.sequences()) task.Complete();
  }
}

void EncoderEngine::Commit(engine::Step& base_step, engine::StepStatus status,
                           engine::Replies& replies) {
  auto& step = static_cast<EncoderStep&>(base_step);
  CHECK(status != engine::StepStatus::kFailed);
  const bool done = status == engine::StepStatus::kDone;
  if (done) {
    costs_.Record(0, step.units, step.computed(), step.finished);
  } else {
    costs_.RecordAtLeast(0, step.units, step.computed(), step.finished);
  }
  for (const EncoderQueue::Member& member : step.members) {
    EncoderQueue::Entry& entry = *member.entry;
    queue_.Return(member, done);
    if (entry.steps > 0) continue;
    EncoderTask& task = TaskOf(entry);
    if (entry.done < task.sequences()) {
      if (entry.abandoned) replies.Abandon(queue_.Remove(entry));
      continue;
    }
    // Where two slots ran parts of it, neither saw the other's.
    if (!task.complete) task.Complete();
    engine::Reply reply;
    reply.outputs = task.TakeOutputs();
    const auto tokens = static_cast<int64_t>(task.tokens.size());
    reply.parameters.emplace_back("prompt_tokens", engine::Parameter(tokens));
    if (task.truncated) reply.parameters.emplace_back("truncated", true);
    replies.Finish(queue_.Remove(entry), std::move(reply));
  }
  step.members.clear();
}

}  // namespace sluice::lm

#include "infer/infer_engine.h"

#include <algorithm>
#include <cstring>

#include "infer/prepared_request.h"
#include "infer/serve_step.h"
#include "infer/text_input.h"

namespace sluice::infer {
namespace {

constexpr int64_t kWarmUpExtent = 8;
constexpr double kPrepareNs = 3000;        // checks and the plan's look-up
constexpr double kTokenizeNsPerByte = 25;  // WordPiece on mixed text
// Of a run in the interpreter until one was measured: nothing is known of it, so it must not pass
// for one that an io thread may run itself.
constexpr double kInterpretedNs = 1e7;
constexpr int64_t kCopyBytesPerNs = 8;

engine::MicroBatcher::Options BatchingOf(const ServedModel& served) {
  engine::MicroBatcher::Options options;
  options.rows_max = served.rows_max;
  options.queue_delay_max = served.options.queue_delay_max;
  options.priority_levels = std::max(1, served.options.priority_levels);
  options.priority_default = std::max(1, served.options.priority_default);
  if (served.options.queue_requests_max > 0)
    options.requests_max = served.options.queue_requests_max;
  return options;
}

}  // namespace

InferEngine::InferEngine(std::shared_ptr<const ServedModel> served)
    : served_(std::move(served)),
      costs_([this](uint64_t shape, int64_t rows) { return PriorOf(shape, rows); }),
      batcher_(BatchingOf(*served_), costs_) {}

InferEngine::~InferEngine() {
  CHECK_EQ(pending(), 0) << "destroyed while it holds requests";
}

base::Duration InferEngine::PrepareCost(const engine::Request& request) const {
  const double text = static_cast<double>(TextBytes(request)) * kTokenizeNsPerByte;
  int64_t bytes = 0;
  for (const tensor::NamedTensor& input : request.inputs) bytes += input.tensor.buffer.bytes();
  return {static_cast<int64_t>(kPrepareNs + text) + bytes / kCopyBytesPerNs};
}

base::Status InferEngine::Prepare(engine::Request& request) const {
  return PrepareRequest(*served_, request);
}

engine::MemoryUse InferEngine::memory() const {
  return {served_->graph->weights_bytes(), served_->activation_bytes, 0};
}

std::unique_ptr<engine::Step> InferEngine::MakeStep(int) {
  auto step = std::make_unique<ServeStep>();
  step->members.reserve(static_cast<size_t>(std::max<int64_t>(served_->rows_max, 1)));
  step->inputs.resize(served_->graph->inputs().size());
  step->outputs.resize(served_->graph->outputs().size());
  step->answer_offsets.resize(step->outputs.size());
  step->row_bytes.resize(step->outputs.size());
  return step;
}

base::Duration InferEngine::PriorOf(uint64_t shape, int64_t rows) const {
  const auto found = priors_.find(shape);
  if (found == priors_.end()) return {};
  return {static_cast<int64_t>(found->second.fixed_ns +
                               found->second.row_ns * static_cast<double>(rows))};
}

// False: the request's key is that of another shape that waits.
bool InferEngine::LearnShape(const engine::Request& request) {
  const PreparedRequest& prepared = PreparedOf(request);
  const auto found = priors_.find(prepared.shape);
  if (found != priors_.end()) {
    if (SameShapeApartFromRows(*served_, found->second.shapes, prepared.shapes)) return true;
    if (batcher_.Holds(prepared.shape)) return false;
  }
  if (priors_.size() >= kPriorsMax) {
    std::erase_if(priors_, [this](const auto& entry) { return !batcher_.Holds(entry.first); });
  }
  const double parts = static_cast<double>(prepared.rows) /
                       static_cast<double>(std::max<int64_t>(1, prepared.plan_rows));
  const double total =
      prepared.plan->interpreted ? kInterpretedNs : prepared.plan->predicted_ns * parts;
  priors_[prepared.shape] = {0, total / static_cast<double>(std::max<int64_t>(1, request.rows)),
                             prepared.shapes};
  return true;
}

engine::Admission InferEngine::Admit(std::unique_ptr<engine::Request>& request,
                                     const engine::Outlook& outlook) {
  // Two shapes of one key must not meet in a step; that happens by chance once in 2^64, or by
  // intent.
  if (!LearnShape(*request)) return engine::Admission::kQueueFull;
  return batcher_.Add(request, PreparedOf(*request).shape, outlook);
}

void InferEngine::OnEvent(const engine::Event&, const engine::Outlook&, engine::Replies&) {
  // Nothing here is ever parked, so no event is ours.
}

void InferEngine::Sweep(base::Time now, engine::Replies& replies) {
  batcher_.Sweep(now, replies);
}

const engine::Offer* InferEngine::BestOffer(base::Time now, engine::WorkClass work) {
  return batcher_.BestOffer(now, work);
}

bool InferEngine::Form(const engine::Offer& offer, engine::Step& base_step,
                       engine::Replies& replies) {
  auto& step = static_cast<ServeStep&>(base_step);
  CHECK(step.members.empty());
  if (!batcher_.Take(offer, step, step.members, replies)) return false;
  step.shape = batcher_.taken_shape();
  step.status = FormStep(*served_, step);
  in_steps_ += static_cast<int64_t>(step.members.size());
  return true;
}

void InferEngine::Launch(engine::Step& base_step, engine::Exec& exec,
                         engine::Safepoint& safepoint) {
  auto& step = static_cast<ServeStep&>(base_step);
  if (!step.status.ok()) return;  // it could not be formed
  RunStep(*served_, step, exec, safepoint);
}

void InferEngine::Commit(engine::Step& base_step, engine::StepStatus status,
                         engine::Replies& replies) {
  auto& step = static_cast<ServeStep&>(base_step);
  in_steps_ -= static_cast<int64_t>(step.members.size());
  std::vector<engine::Reply> answers(step.members.size());
  int64_t first = 0;  // row of the step
  for (size_t i = 0; i < step.members.size(); ++i) {
    engine::Reply& reply = answers[i];
    const int64_t at = first;
    first += PreparedOf(*step.members[i]).rows;
    if (status == engine::StepStatus::kAbandoned) continue;
    if (status == engine::StepStatus::kFailed) {
      reply.status = step.status;
    } else if (!step.member_status[i].ok()) {
      reply.status = step.member_status[i];
    } else {
      reply.outputs = AnswerOf(*served_, step, i, at);
      if (PreparedOf(*step.members[i]).truncated) {
        reply.parameters.push_back({"truncated", true});
        reply.parameters.push_back({"tokens_max", served_->text_tokens_max});
      }
    }
  }
  for (size_t i = 0; i < step.members.size(); ++i) {
    if (status == engine::StepStatus::kAbandoned) {
      replies.Refuse(std::move(step.members[i]), engine::reason::kCancelled);
    } else {
      replies.Finish(std::move(step.members[i]), std::move(answers[i]));
    }
  }
  step.members.clear();
  step.interpreted.clear();
  step.answer = {};
  step.plan = nullptr;
  step.tail_plan = nullptr;
  step.status = base::Ok();
  if (status == engine::StepStatus::kDone) {
    costs_.Record(step.shape, step.rows, step.computed(), step.finished);
    batcher_.CostsChanged();
  }
}

base::Result<std::unique_ptr<engine::Engine>> Load(const std::string& folder,
                                                   const Options& options) {
  return std::unique_ptr<engine::Engine>(
      std::make_unique<InferEngine>(TRY(LoadServedModel(folder, options))));
}

base::Result<std::unique_ptr<engine::Request>> MakeWarmUp(const InferEngine& engine, int64_t rows) {
  auto request = std::make_unique<engine::Request>();
  request->id = "warm-up";
  request->call = std::make_shared<engine::Call>(engine::Call::Options{});
  for (const engine::TensorSpec& spec : engine.description().inputs) {
    if (spec.optional) continue;
    tensor::Shape shape;
    for (size_t axis = 0; axis < spec.dims.size(); ++axis) {
      shape.Append(spec.dims[axis] >= 0 ? spec.dims[axis] : axis == 0 ? rows : kWarmUpExtent);
    }
    if (spec.dtype == tensor::DType::kBytes) {
      const std::vector<std::string> texts(static_cast<size_t>(shape.elements()),
                                           "a text to warm up with");
      request->inputs.push_back({spec.name, tensor::Tensor::FromStrings(shape, texts)});
      continue;
    }
    tensor::Tensor tensor = TRY(
        tensor::Tensor::Allocate(spec.dtype, shape, engine.served().options.activation_bytes_max));
    std::memset(tensor.buffer.mutable_data(), 0, static_cast<size_t>(tensor.buffer.bytes()));
    request->inputs.push_back({spec.name, std::move(tensor)});
  }
  TRY(engine.Prepare(*request));
  return request;
}

}  // namespace sluice::infer

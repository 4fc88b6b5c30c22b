#include "infer/infer_engine.h"

#include <algorithm>
#include <cstring>

#include "infer/planner.h"
#include "infer/prepared_request.h"
#include "infer/ragged_plans.h"
#include "infer/ragged_step.h"
#include "infer/serve_step.h"
#include "infer/text_input.h"

namespace sluice::infer {
namespace {

constexpr int64_t kWarmUpExtent = 8;
constexpr double kPrepareNs = 3000;        // checks and the look-up of the plans
constexpr double kTokenizeNsPerByte = 25;  // WordPiece on mixed text
// Of a run in the interpreter until one was measured: nothing is known of it, so it must not pass
// for one that an io thread may run itself.
constexpr double kInterpretedNs = 1e7;
constexpr int64_t kCopyBytesPerNs = 8;

engine::MicroBatcher::Options BatchingOf(const ServedModel& served) {
  engine::MicroBatcher::Options options;
  options.rows_max =
      served.rows_max > 0 && served.ragged != nullptr ? served.units_max : served.rows_max;
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
      batcher_(BatchingOf(*served_), costs_),
      answers_(tensor::BufferPool::Create(
          {served_->options.answer_idle_bytes_max, served_->options.ledger,
           "model " + served_->options.model + "/" + std::to_string(served_->options.version) +
               " answers"})) {}

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
  return {served_->graph->weights_bytes(), served_->activation_bytes,
          served_->plans->bytes() + answers_->bytes() +
              (served_->ragged == nullptr ? 0 : served_->ragged->bytes())};
}

std::unique_ptr<engine::Step> InferEngine::MakeStep(int) {
  auto step = std::make_unique<ServeStep>();
  const int64_t members = std::max({served_->rows_max, served_->units_max, int64_t{1}});
  step->members.reserve(static_cast<size_t>(members));
  step->inputs.resize(served_->graph->inputs().size());
  step->outputs.resize(served_->graph->outputs().size());
  step->answer_offsets.resize(step->outputs.size());
  step->row_bytes.resize(step->outputs.size());
  step->parts.reserve(PlanFamily::kPartsMax);
  step->member_parts.reserve(PlanFamily::kPartsMax);
  if (served_->ragged != nullptr) {
    step->sequences.reserve(static_cast<size_t>(members));
    step->ragged_inputs.resize(served_->graph->ragged()->inputs.size());
    step->ragged_parts.reserve(PlanFamily::kPartsMax);
    step->member_ragged_parts.reserve(PlanFamily::kPartsMax);
  }
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
  if (!prepared.lengths.empty()) {
    // Units are made to be proportional to time.
    priors_[prepared.shape] = {0, served_->ragged->unit_ns(), {}};
    return true;
  }
  const auto found = priors_.find(prepared.shape);
  if (found != priors_.end()) {
    if (SameShapeApartFromRows(*served_, found->second.shapes, prepared.shapes)) return true;
    if (batcher_.Holds(prepared.shape)) return false;
  }
  if (priors_.size() >= kPriorsMax) {
    std::erase_if(priors_, [this](const auto& entry) { return !batcher_.Holds(entry.first); });
  }
  const double one = prepared.family == nullptr ? 0 : prepared.family->PredictedNs(1);
  const double all =
      prepared.family == nullptr ? kInterpretedNs : prepared.family->PredictedNs(prepared.rows);
  Prior& prior = priors_[prepared.shape];
  const int64_t units = std::max<int64_t>(1, request.units > 0 ? request.units : request.rows);
  prior = {0, all / static_cast<double>(units), prepared.shapes};
  if (request.units == 0 && request.rows > 1 && request.rows == prepared.rows) {
    prior.row_ns = std::max(0.0, (all - one) / static_cast<double>(request.rows - 1));
    prior.fixed_ns = std::max(0.0, one - prior.row_ns);
  }
  return true;
}

engine::Admission InferEngine::Admit(std::unique_ptr<engine::Request>& request,
                                     const engine::Outlook& outlook) {
  PreparedRequest& prepared = MutablePreparedOf(*request);
  // Planned since it was prepared, or not yet: what is wrong with its shapes is told by OnEvent.
  if (!prepared.complete && (prepared.family->state() != PlanFamily::State::kReady ||
                             !Complete(*served_, prepared).ok())) {
    return Park(request);
  }
  return AdmitPlanned(request, outlook);
}

// Keeps the request until the planner's event. One job a family and engine.
engine::Admission InferEngine::Park(std::unique_ptr<engine::Request>& request) {
  if (parked_.size() >= kParkedMax) return engine::Admission::kQueueFull;
  const std::shared_ptr<PlanFamily>& family = PreparedOf(*request).family;
  const bool asked = std::any_of(parked_.begin(), parked_.end(), [&](const auto& other) {
    return PreparedOf(*other).family == family;
  });
  if (!asked) {
    auto job = std::make_unique<Planner::Job>();
    job->served = served_;
    job->family = family;
    job->rows = PreparedOf(*request).rows;
    job->waiter = request->pin;
    if (!served_->options.planner->Enqueue(std::move(job))) return engine::Admission::kQueueFull;
  }
  parked_.push_back(std::move(request));
  return engine::Admission::kParked;
}

engine::Admission InferEngine::AdmitPlanned(std::unique_ptr<engine::Request>& request,
                                            const engine::Outlook& outlook) {
  // Two shapes of one key must not meet in a step; that happens by chance once in 2^64, or by
  // intent.
  if (!LearnShape(*request)) return engine::Admission::kQueueFull;
  return batcher_.Add(request, PreparedOf(*request).shape, outlook);
}

// The planner is done with some family. Its requests keep their order.
void InferEngine::OnEvent(const engine::Event&, const engine::Outlook& outlook,
                          engine::Replies& replies) {
  size_t kept = 0;
  for (size_t i = 0; i < parked_.size(); ++i) {
    std::unique_ptr<engine::Request> request = std::move(parked_[i]);
    PreparedRequest& prepared = MutablePreparedOf(*request);
    if (prepared.family->state() == PlanFamily::State::kNew) {
      parked_[kept++] = std::move(request);
      continue;
    }
    engine::Reply refusal;
    refusal.status = Complete(*served_, prepared);
    if (!refusal.status.ok()) {
      replies.Finish(std::move(request), std::move(refusal));
      continue;
    }
    switch (AdmitPlanned(request, outlook)) {
      case engine::Admission::kQueued:
      case engine::Admission::kParked:
        break;
      case engine::Admission::kQueueFull:
        replies.Refuse(std::move(request), engine::reason::kQueueFull);
        break;
      case engine::Admission::kTooLate:
        replies.Refuse(std::move(request), engine::reason::kDeadlineAdmission);
        break;
    }
  }
  parked_.resize(kept);
}

void InferEngine::Sweep(base::Time now, engine::Replies& replies) {
  batcher_.Sweep(now, replies);
  std::erase_if(parked_, [&](std::unique_ptr<engine::Request>& request) {
    if (!request->call->cancelled() && !request->call->expired(now)) return false;
    replies.Refuse(std::move(request), request->call->cancelled() ? engine::reason::kCancelled
                                                                  : engine::reason::kDeadlineQueue);
    return true;
  });
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
  step.units = batcher_.taken_units();
  step.ragged = !PreparedOf(*step.members[0]).lengths.empty();
  step.status =
      step.ragged ? FormRagged(*served_, *answers_, step) : FormStep(*served_, *answers_, step);
  if (step.ragged) AskForRaggedPlans(step);
  if (step.family != nullptr) AskForPlans(step);
  in_steps_ += static_cast<int64_t>(step.members.size());
  return true;
}

// Steps of these rows come again and run in parts: the plan that they lack is made beside the loop.
void InferEngine::AskForPlans(ServeStep& step) {
  if (served_->options.planner == nullptr || !step.family->rows_apart()) return;
  if (step.parts.size() <= 1) return;
  const std::shared_ptr<PlanFamily>& family = PreparedOf(*step.members[0]).family;
  const int64_t size = family->Want(step.row_count);
  if (size == 0) return;
  auto job = std::make_unique<Planner::Job>();
  job->served = served_;
  job->family = family;
  job->rows = size;
  if (!served_->options.planner->Enqueue(std::move(job))) family->Unwant(size);
}

void InferEngine::AskForRaggedPlans(const ServeStep& step) {
  if (served_->options.planner == nullptr) return;
  for (const RaggedPart& part : step.ragged_parts) {
    const int64_t size = served_->ragged->Want(part.rows, part.count);
    if (size == 0 || size >= part.size) continue;
    auto job = std::make_unique<Planner::Job>();
    job->served = served_;
    job->rows = size;
    if (!served_->options.planner->Enqueue(std::move(job))) served_->ragged->Unwant(size);
  }
}

void InferEngine::Launch(engine::Step& base_step, engine::Exec& exec,
                         engine::Safepoint& safepoint) {
  auto& step = static_cast<ServeStep&>(base_step);
  if (!step.status.ok()) return;  // it could not be formed
  if (step.ragged) return RunRagged(*served_, step, exec, safepoint);
  RunStep(*served_, step, exec, safepoint);
}

void InferEngine::Commit(engine::Step& base_step, engine::StepStatus status,
                         engine::Replies& replies) {
  auto& step = static_cast<ServeStep&>(base_step);
  in_steps_ -= static_cast<int64_t>(step.members.size());
  int64_t first = 0;  // row of the step
  for (size_t i = 0; i < step.members.size(); ++i) {
    std::unique_ptr<engine::Request> member = std::move(step.members[i]);
    const int64_t at = first;
    PreparedRequest& prepared = MutablePreparedOf(*member);
    first += prepared.rows;
    if (status == engine::StepStatus::kAbandoned) {
      replies.Abandon(std::move(member));
      continue;
    }
    engine::Reply reply;
    if (status == engine::StepStatus::kFailed) {
      reply.status = step.status;
    } else if (!step.member_status[i].ok()) {
      reply.status = std::move(step.member_status[i]);
    } else {
      reply.outputs = step.ragged ? RaggedAnswerOf(step, prepared)
                                  : AnswerOf(*served_, step, prepared, {i, at});
      reply.parameters = std::move(prepared.notices);
    }
    replies.Finish(std::move(member), std::move(reply));
  }
  step.members.clear();
  step.interpreted.clear();
  step.answer = nullptr;
  step.family = nullptr;
  step.parts.clear();
  step.status = base::Ok();
  if (status == engine::StepStatus::kDone) {
    costs_.Record(step.shape, step.units, step.computed(), step.finished);
    batcher_.CostsChanged();
  } else if (status == engine::StepStatus::kAbandoned) {
    costs_.RecordAtLeast(step.shape, step.rows, step.computed(), step.finished);
    batcher_.CostsChanged();
  }
}

base::Result<std::unique_ptr<engine::Engine>> Load(const std::string& folder,
                                                   const Options& options) {
  return std::unique_ptr<engine::Engine>(
      std::make_unique<InferEngine>(TRY(LoadServedModel(folder, options))));
}

// A mask of zeros would warm up what no request runs.
static void FillMask(const ServedModel& served, const std::string& name, tensor::Tensor& tensor) {
  const graph::RaggedForm* form = served.graph->ragged();
  if (form == nullptr || served.graph->inputs()[static_cast<size_t>(form->mask_input)].name != name)
    return;
  const tensor::View view = tensor.mutable_view();
  for (int64_t i = 0; i < tensor.shape.elements(); ++i) {
    if (tensor.dtype == tensor::DType::kI64) view.as<int64_t>()[i] = 1;
    if (tensor.dtype == tensor::DType::kI32) view.as<int32_t>()[i] = 1;
    if (tensor.dtype == tensor::DType::kF32) view.as<float>()[i] = 1;
    if (tensor.dtype == tensor::DType::kBool) view.as<bool>()[i] = true;
  }
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
    FillMask(engine.served(), spec.name, tensor);
    request->inputs.push_back({spec.name, std::move(tensor)});
  }
  TRY(engine.Prepare(*request));
  return request;
}

}  // namespace sluice::infer

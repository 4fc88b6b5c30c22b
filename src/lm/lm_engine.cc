#include "lm/lm_engine.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "tensor/align.h"

namespace sluice::lm {
namespace {

constexpr double kPrepareNs = 2000;
// Of a token id, and of a byte of text to be tokenised.
constexpr double kPrepareNsPerToken = 2;
constexpr double kPrepareNsPerByte = 25;
// Of a prior: one lane's f32 products and reading memory. Measured steps correct it.
constexpr double kFlopsPerNs = 40;
constexpr double kBytesPerNs = 8;
constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

tensor::Tensor Copied(tensor::DType dtype, const void* data, size_t count) {
  tensor::Tensor tensor;
  tensor.dtype = dtype;
  tensor.shape = tensor::Shape({static_cast<int64_t>(count)});
  const auto bytes = static_cast<int64_t>(count) * tensor::DTypeSize(dtype);
  tensor.buffer = tensor::Buffer::Allocate(bytes);
  std::memcpy(tensor.buffer.mutable_data(), data, static_cast<size_t>(bytes));
  return tensor;
}

}  // namespace

// What a step computes and draws. The requests that it points to stay until it is committed.
struct LmEngine::LmStep : engine::Step {
  struct Draw {
    const engine::Call* call = nullptr;
    const SamplingParameters* sampling = nullptr;  // null: no token is drawn
    const TokenCounts* counts = nullptr;
    int64_t position = 0;  // of the token that is drawn
  };
  bool wanted(base::Time now) const override {
    return probe || std::any_of(draws.begin(), draws.end(), [&](const Draw& draw) {
             return !draw.call->cancelled() && !draw.call->expired(now);
           });
  }

  Scheduler::Plan plan;
  std::vector<Draw> draws;      // of each member
  std::vector<Sample> samples;  // by row of logits
  Sampler sampler;
};

LmEngine::LmEngine(std::shared_ptr<const LanguageModel> model)
    : model_(std::move(model)),
      costs_([this](uint64_t, int64_t rows) { return PriorOf(rows); }),
      scheduler_({.cache = {.blocks = model_->blocks,
                            .block_rows = static_cast<int32_t>(kernels::kCacheBlockRows)},
                  .running_max = model_->options.running_max,
                  .sequences_max = model_->options.sequences_max}) {
  const Decoder& decoder = model_->decoder;
  cache_.type = decoder.cache_type();
  cache_.layer_bytes = decoder.cache_layer_bytes();
  cache_.block_bytes = decoder.cache_block_bytes();
  blocks_ = tensor::Buffer::Allocate(model_->blocks * cache_.block_bytes + 64);
  cache_.data = blocks_.mutable_data();
  by_id_.resize(static_cast<size_t>(model_->options.sequences_max));
}

LmEngine::~LmEngine() {
  CHECK_EQ(pending(), 0) << "destroyed while it holds requests";
}

base::Duration LmEngine::PrepareCost(const engine::Request& request) const {
  double ns = kPrepareNs;
  for (const tensor::NamedTensor& input : request.inputs) {
    const auto bytes = static_cast<double>(input.tensor.buffer.bytes());
    ns += input.tensor.dtype == tensor::DType::kBytes ? bytes * kPrepareNsPerByte
                                                      : bytes / 4 * kPrepareNsPerToken;
  }
  return {static_cast<int64_t>(ns)};
}

base::Status LmEngine::Prepare(engine::Request& request) const {
  auto generation = std::make_unique<Generation>();
  TRY(ReadGeneration(request, model_->limits, model_->text.get(), *generation));
  request.rows = 1;
  request.prepared = std::move(generation);
  return base::Ok();
}

engine::MemoryUse LmEngine::memory() const {
  const int64_t logits =
      model_->options.running_max * model_->decoder.config().vocabulary * kFloatBytes;
  return {model_->decoder.weight_bytes(),
          tensor::AlignUp(logits) + model_->decoder.MemoryBytes(model_->options.step_rows_max,
                                                                model_->options.running_max),
          blocks_.bytes()};
}

std::unique_ptr<engine::Step> LmEngine::MakeStep(int) {
  auto step = std::make_unique<LmStep>();
  step->samples.resize(static_cast<size_t>(model_->options.running_max));
  return step;
}

base::Duration LmEngine::PriorOf(int64_t rows) const {
  const auto bytes = static_cast<double>(model_->decoder.weight_bytes());
  const double flops =
      2.0 * static_cast<double>(model_->decoder.parameters()) * static_cast<double>(rows);
  return {static_cast<int64_t>(std::max(bytes / kBytesPerNs, flops / kFlopsPerNs))};
}

engine::Admission LmEngine::Admit(std::unique_ptr<engine::Request>& request,
                                  const engine::Outlook& outlook) {
  const auto& generation = static_cast<const Generation&>(*request->prepared);
  SequenceSpec spec;
  spec.tokens = generation.prompt;
  // The last token is said, never computed.
  spec.generated_max = generation.answer_max - 1;
  spec.priority =
      request->call->priority() > 0 ? request->call->priority() : model_->options.priority_default;
  spec.deadline = request->call->deadline();
  spec.domain = scheduler_.cache().Domain(generation.cache_salt);
  const auto length = static_cast<int64_t>(spec.tokens.size());
  const int64_t found = scheduler_.cache().Find(
      spec.domain, std::span(spec.tokens).first(static_cast<size_t>(length - 1)));
  // At the least its own prompt, and a step for each further token.
  const int64_t rows = std::min(length - found, model_->options.step_rows_max);
  const engine::Cost prompt = costs_.Predict(0, rows);
  const engine::Cost token = costs_.Predict(0, 1);
  const int64_t steps = (length - found + rows - 1) / rows;
  const base::Duration predicted{prompt.predicted.ns * steps +
                                 token.predicted.ns * (generation.answer_max - 1)};
  if (prompt.measured && token.measured && outlook.device_free + predicted > spec.deadline &&
      !costs_.TakeProbe(outlook.now)) {
    return engine::Admission::kTooLate;
  }
  auto answer = std::make_unique<Answer>();
  answer->id = scheduler_.Add(std::move(spec));
  if (answer->id == Scheduler::kNone) return engine::Admission::kQueueFull;
  answer->counts.AddPrompt(generation.prompt);
  if (model_->text != nullptr) answer->decoder.emplace(model_->text->MakeDecoder());
  answer->request = std::move(request);
  answer->index = answers_.size();
  by_id_[static_cast<size_t>(answer->id)] = answer.get();
  answers_.push_back(std::move(answer));
  return engine::Admission::kQueued;
}

void LmEngine::OnEvent(const engine::Event&, const engine::Outlook&, engine::Replies&) {}

std::unique_ptr<engine::Request> LmEngine::TakeOut(size_t index) {
  std::unique_ptr<engine::Request> request = std::move(answers_[index]->request);
  scheduler_.Remove(answers_[index]->id);
  std::swap(answers_[index], answers_.back());
  answers_[index]->index = index;
  answers_.pop_back();
  return request;
}

void LmEngine::Sweep(base::Time now, engine::Replies& replies) {
  for (size_t i = answers_.size(); i-- > 0;) {
    const engine::Call& call = *answers_[i]->request->call;
    // A step that runs points to its requests: they go when it is committed.
    if (answers_[i]->in_step || (!call.cancelled() && !call.expired(now))) continue;
    replies.Refuse(TakeOut(i),
                   call.cancelled() ? engine::reason::kCancelled : engine::reason::kDeadlineQueue);
  }
}

const engine::Offer* LmEngine::BestOffer(base::Time now, engine::WorkClass work) {
  const bool timed = work == engine::WorkClass::kTimed;
  bool any = false;
  engine::Offer& offer = offers_[timed ? 0 : 1];
  offer = {};
  offer.work = work;
  offer.priority = std::numeric_limits<int>::max();
  base::Time deadline = base::Time::Never();
  for (const std::unique_ptr<Answer>& answer : answers_) {
    const engine::Call& call = *answer->request->call;
    if (answer->in_step || (call.deadline() != base::Time::Never()) != timed) continue;
    any = true;
    deadline = std::min(deadline, call.deadline());
    offer.priority = std::min(
        offer.priority, call.priority() > 0 ? call.priority() : model_->options.priority_default);
  }
  if (!any) return nullptr;
  offer.cost = costs_.Predict(0, scheduler_.RowsToGo(model_->options.step_rows_max));
  offer.wait_until = now;
  if (deadline != base::Time::Never()) offer.latest_start = deadline - offer.cost.predicted;
  return &offer;
}

bool LmEngine::Form(const engine::Offer&, engine::Step& base_step, engine::Replies&) {
  auto& step = static_cast<LmStep&>(base_step);
  if (!scheduler_.Form(model_->options.step_rows_max, step.plan)) return false;
  step.draws.clear();
  for (const Scheduler::Member& member : step.plan.members) {
    Answer& answer = Find(member.id);
    answer.in_step = true;
    if (answer.found_tokens < 0) answer.found_tokens = member.from;
    LmStep::Draw draw;
    draw.call = answer.request->call.get();
    if (member.logits >= 0) {
      draw.sampling = &GenerationOf(answer).sampling;
      draw.counts = &answer.counts;
      draw.position = member.to;
    }
    step.draws.push_back(draw);
  }
  step.rows = step.plan.rows.rows();
  step.predicted = costs_.Predict(0, step.rows).predicted;
  return true;
}

void LmEngine::Launch(engine::Step& base_step, engine::Exec& exec, engine::Safepoint& safepoint) {
  auto& step = static_cast<LmStep&>(base_step);
  const int64_t vocabulary = model_->decoder.config().vocabulary;
  auto* const logits = reinterpret_cast<float*>(exec.memory);
  std::byte* const memory =
      exec.memory + tensor::AlignUp(model_->options.running_max * vocabulary * kFloatBytes);
  Runner runner({.pool = exec.pool, .safepoint = &safepoint});
  if (!model_->decoder.Run(step.plan.rows, cache_, memory, logits, runner)) return;
  for (size_t i = 0; i < step.draws.size(); ++i) {
    const LmStep::Draw& draw = step.draws[i];
    if (draw.sampling == nullptr) continue;
    const int32_t row = step.plan.members[i].logits;
    step.sampler.Draw({logits + row * vocabulary, static_cast<size_t>(vocabulary)}, *draw.sampling,
                      *draw.counts, draw.position, step.samples[static_cast<size_t>(row)]);
  }
}

const char* LmEngine::Hear(Answer& answer, const Sample& sample) const {
  const Generation& generation = GenerationOf(answer);
  const auto holds = [&](const std::vector<int32_t>& ids) {
    return std::binary_search(ids.begin(), ids.end(), sample.token);
  };
  if ((!generation.ignore_eos && holds(model_->end_ids)) || holds(generation.stop_ids)) {
    return "stop";
  }
  answer.tokens.push_back(sample.token);
  if (generation.sampling.logprobs >= 0) answer.logprobs.push_back(sample.logprob);
  answer.counts.AddGenerated(sample.token);
  if (answer.decoder.has_value()) {
    const size_t before = answer.text.size();
    answer.status = answer.decoder->Append(sample.token, answer.text);
    if (!answer.status.ok()) return "error";
    if (FindStop(answer, before)) return "stop";
  }
  return static_cast<int64_t>(answer.tokens.size()) == generation.answer_max ? "length" : nullptr;
}

bool LmEngine::FindStop(Answer& answer, size_t before) const {
  size_t end = std::string::npos;
  for (const std::string& stop : GenerationOf(answer).stop) {
    const size_t from = before < stop.size() ? 0 : before - stop.size() + 1;
    end = std::min(end, answer.text.find(stop, from));
  }
  if (end == std::string::npos) return false;
  answer.text.resize(std::max(end, answer.text_sent));
  answer.decoder.reset();  // what it holds back comes behind the stop
  return true;
}

// With the tokens and the text that were not sent yet. What may turn out to be the beginning of a
// stop waits, unless this is the `last` reply.
engine::Reply LmEngine::ReplyWith(Answer& answer, bool last) const {
  engine::Reply reply;
  const size_t count = answer.tokens.size() - answer.sent;
  reply.outputs.push_back(
      {kOutputIds, Copied(tensor::DType::kI32, answer.tokens.data() + answer.sent, count)});
  if (GenerationOf(answer).sampling.logprobs >= 0) {
    reply.outputs.push_back(
        {kLogprobs, Copied(tensor::DType::kF32, answer.logprobs.data() + answer.sent, count)});
  }
  if (model_->text != nullptr) {
    size_t end = answer.text.size();
    size_t held = 0;
    for (const std::string& stop : GenerationOf(answer).stop)
      held = std::max(held, stop.size() - 1);
    if (!last) end -= std::min(held, end);
    end = std::max(end, answer.text_sent);
    // Not within a character.
    const auto continues = [&](size_t at) { return (answer.text[at] & 0xc0) == 0x80; };
    while (end < answer.text.size() && end > answer.text_sent && continues(end)) --end;
    reply.outputs.push_back(
        {kText, tensor::Tensor::FromStrings(
                    {1}, {answer.text.substr(answer.text_sent, end - answer.text_sent)})});
    answer.text_sent = end;
  }
  answer.sent = answer.tokens.size();
  return reply;
}

void LmEngine::Finish(size_t index, const char* why, engine::Replies& replies) {
  Answer& answer = *answers_[index];
  if (!answer.status.ok()) {
    engine::Reply reply;
    reply.status = std::move(answer.status);
    return replies.Finish(TakeOut(index), std::move(reply));
  }
  if (answer.decoder.has_value()) answer.decoder->Finish(answer.text);
  engine::Reply reply = ReplyWith(answer, true);
  const auto count = [](size_t n) { return engine::Parameter(static_cast<int64_t>(n)); };
  reply.parameters.emplace_back("finish_reason", std::string(why));
  reply.parameters.emplace_back("prompt_tokens", count(GenerationOf(answer).prompt.size()));
  reply.parameters.emplace_back("completion_tokens", count(answer.tokens.size()));
  reply.parameters.emplace_back("cached_tokens", engine::Parameter(answer.found_tokens));
  replies.Finish(TakeOut(index), std::move(reply));
}

void LmEngine::Commit(engine::Step& base_step, engine::StepStatus status,
                      engine::Replies& replies) {
  auto& step = static_cast<LmStep&>(base_step);
  CHECK(status != engine::StepStatus::kFailed);
  const bool done = status == engine::StepStatus::kDone;
  if (done) {
    scheduler_.Complete(step.plan);
    costs_.Record(0, step.rows, step.computed(), step.finished);
  } else {
    scheduler_.Abandon(step.plan);
    costs_.RecordAtLeast(0, step.rows, step.computed(), step.finished);
  }
  for (const Scheduler::Member& member : step.plan.members) {
    Answer& answer = Find(member.id);
    answer.in_step = false;
    if (!done || member.logits < 0) continue;
    const Sample& sample = step.samples[static_cast<size_t>(member.logits)];
    const char* const why = Hear(answer, sample);
    if (why != nullptr) {
      Finish(answer.index, why, replies);
      continue;
    }
    scheduler_.Append(member.id, sample.token);
    // A reader that is behind gets more tokens in its next chunk.
    engine::Call& call = *answer.request->call;
    if (GenerationOf(answer).stream && call.takes_chunks() && call.TakeCredit()) {
      engine::Reply chunk = ReplyWith(answer, false);
      chunk.terminal = false;
      replies.Chunk(*answer.request, std::move(chunk));
    }
  }
}

void LmEngine::CheckIntegrity() const {
  scheduler_.CheckIntegrity();
  CHECK_EQ(static_cast<size_t>(scheduler_.running() + scheduler_.waiting()), answers_.size());
}

}  // namespace sluice::lm

#include "sim/fake_engine.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace sluice::sim {
namespace {

const FakeWork& WorkOf(const engine::Request& request) {
  return static_cast<const FakeWork&>(*request.prepared);
}

}  // namespace

FakeEngine::FakeEngine(Options options)
    : options_(std::move(options)),
      costs_([prior = options_.prior](uint64_t, int64_t) { return prior; }),
      batcher_(options_.batching, costs_) {
  description_.model = options_.name;
  description_.version = 1;
  description_.batch_rows_max = options_.batching.rows_max;
}

FakeEngine::~FakeEngine() {
  CHECK_EQ(pending(), 0) << "destroyed while it holds requests";
}

base::Status FakeEngine::Prepare(engine::Request& request) const {
  if (request.prepared == nullptr) request.prepared = std::make_unique<FakeWork>();
  return base::Ok();
}

std::unique_ptr<engine::Step> FakeEngine::MakeStep(int) {
  auto step = std::make_unique<FakeStep>();
  step->members.reserve(static_cast<size_t>(std::max<int64_t>(options_.batching.rows_max, 1)));
  in_flight_.reserve(16);
  return step;
}

engine::Admission FakeEngine::Admit(std::unique_ptr<engine::Request>& request,
                                    const engine::Outlook& outlook) {
  const FakeWork& work = WorkOf(*request);
  if (work.park_token == 0) return batcher_.Add(request, work.shape, outlook);
  parked_.emplace(work.park_token, std::move(request));
  return engine::Admission::kParked;
}

void FakeEngine::OnEvent(const engine::Event& event, const engine::Outlook& outlook,
                         engine::Replies& replies) {
  const auto found = parked_.find(event.token);
  if (found == parked_.end()) return;  // it has expired or was cancelled
  std::unique_ptr<engine::Request> request = std::move(found->second);
  parked_.erase(found);
  if (!event.status.ok()) {
    engine::Reply reply;
    reply.status = event.status;
    return replies.Finish(std::move(request), std::move(reply));
  }
  switch (batcher_.Add(request, WorkOf(*request).shape, outlook)) {
    case engine::Admission::kQueued:
    case engine::Admission::kParked:
      return;
    case engine::Admission::kQueueFull:
      return replies.Refuse(std::move(request), engine::reason::kQueueFull);
    case engine::Admission::kTooLate:
      return replies.Refuse(std::move(request), engine::reason::kDeadlineQueue);
  }
}

void FakeEngine::Sweep(base::Time now, engine::Replies& replies) {
  batcher_.Sweep(now, replies);
  for (auto at = parked_.begin(); at != parked_.end();) {
    const engine::Call& call = *at->second->call;
    if (!call.cancelled() && !call.expired(now)) {
      ++at;
      continue;
    }
    replies.Refuse(std::move(at->second),
                   call.cancelled() ? engine::reason::kCancelled : engine::reason::kDeadlineQueue);
    at = parked_.erase(at);
  }
}

bool FakeEngine::Form(const engine::Offer& offer, engine::Step& base_step,
                      engine::Replies& replies) {
  auto& step = static_cast<FakeStep&>(base_step);
  CHECK(step.members.empty());
  if (!batcher_.Take(offer, step, step.members, replies)) return false;
  step.shape = batcher_.taken_shape();
  step.work = offer.work;
  step.number = formed_++;
  step.fails = false;
  for (const auto& member : step.members) step.fails |= WorkOf(*member).fails;
  const base::Duration planned = options_.fixed + options_.per_row * step.rows;
  const double noise = options_.noise ? options_.noise() : 1.0;
  step.duration = {static_cast<int64_t>(static_cast<double>(planned.ns) * noise)};
  in_steps_ += static_cast<int64_t>(step.members.size());
  in_flight_.push_back(step.number);
  if (options_.hooks.on_form) options_.hooks.on_form(step);
  return true;
}

// Fills both ends of its memory with the step's number and finds it there after every piece: nobody
// else may write to it.
void FakeEngine::Launch(engine::Step& base_step, engine::Exec& exec, engine::Safepoint& safepoint) {
  auto& step = static_cast<FakeStep&>(base_step);
  CHECK_GE(exec.memory_bytes, options_.activation_bytes);
  const auto mark = static_cast<unsigned char>(step.number * 31 + options_.name.size() * 7 + 1);
  const size_t bytes = std::min<size_t>(static_cast<size_t>(options_.activation_bytes), 4096);
  std::byte* const ends[] = {exec.memory,
                             exec.memory + options_.activation_bytes - static_cast<int64_t>(bytes)};
  for (std::byte* const end : ends) {
    if (bytes > 0) std::memset(end, mark, bytes);
  }
  base::Duration left = step.duration;
  while (left > base::Duration{}) {
    const base::Duration piece = std::min(left, options_.piece);
    if (options_.spend) options_.spend(piece);
    left = left - piece;
    if (left > base::Duration{} && !safepoint.Reach()) return;
    for (size_t i = 0; i < bytes; i += 1024) {
      for (const std::byte* const end : ends) {
        CHECK(end[i] == std::byte{mark}) << "somebody wrote into the memory of a running step";
      }
    }
  }
  if (step.fails) step.status = base::Internal("the fake was asked to fail");
}

void FakeEngine::Commit(engine::Step& base_step, engine::StepStatus status,
                        engine::Replies& replies) {
  auto& step = static_cast<FakeStep&>(base_step);
  CHECK(!in_flight_.empty() && in_flight_.front() == step.number) << "commit out of launch order";
  in_flight_.erase(in_flight_.begin());
  if (options_.hooks.on_commit) options_.hooks.on_commit(step);
  in_steps_ -= static_cast<int64_t>(step.members.size());
  for (auto& member : step.members) {
    if (status == engine::StepStatus::kAbandoned) {
      replies.Abandon(std::move(member));
      continue;
    }
    engine::Reply reply;
    if (status == engine::StepStatus::kFailed) reply.status = step.status;
    replies.Finish(std::move(member), std::move(reply));
  }
  step.members.clear();
  if (status == engine::StepStatus::kDone) {
    costs_.Record(step.shape, step.rows, step.computed(), step.finished);
    batcher_.CostsChanged();
  } else if (status == engine::StepStatus::kAbandoned) {
    costs_.RecordAtLeast(step.shape, step.rows, step.computed(), step.finished);
    batcher_.CostsChanged();
  }
}

int64_t FakeEngine::pending() const {
  return batcher_.waiting() + static_cast<int64_t>(parked_.size()) + in_steps_;
}

void FakeEngine::CheckIntegrity() const {
  batcher_.CheckIntegrity();
}

void SpinFor(base::Duration duration) {
  const base::Time until = base::SystemClock::Get().Now() + duration;
  while (base::SystemClock::Get().Now() < until) {
  }
}

}  // namespace sluice::sim

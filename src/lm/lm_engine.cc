#include "lm/lm_engine.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "base/check.h"
#include "lm/lm_step.h"
#include "lm/request_fields.h"
#include "lm/task/requests.h"
#include "tensor/align.h"

namespace sluice::lm {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));
// Sequences that the scheduler holds beyond one of each request, as multiples of those that run.
constexpr int32_t kBranchesMax = 4;

}  // namespace

LmEngine::LmEngine(std::shared_ptr<const LanguageModel> model)
    : model_(std::move(model)),
      costs_(PriorOf(*model_)),
      scheduler_({.cache = {.blocks = model_->blocks,
                            .block_rows = static_cast<int32_t>(kernels::kCacheBlockRows)},
                  .running_max = model_->options.running_max,
                  .sequences_max =
                      model_->options.sequences_max + kBranchesMax * model_->options.running_max}),
      measures_(model_->blocks, static_cast<int32_t>(kernels::kCacheBlockRows)) {
  const Decoder& decoder = model_->decoder;
  cache_.type = decoder.cache_type();
  cache_.layer_bytes = decoder.cache_layer_bytes();
  cache_.block_bytes = decoder.cache_block_bytes();
  blocks_ = tensor::Buffer::Allocate(model_->blocks * cache_.block_bytes + 64);
  cache_.data = blocks_.mutable_data();
  owners_.resize(static_cast<size_t>(scheduler_.sequences_max()));
}

LmEngine::~LmEngine() {
  CHECK_EQ(pending(), 0) << "destroyed while it holds requests";
}

base::Duration LmEngine::PrepareCost(const engine::Request& request) const {
  return PrepareCostOf(request);
}

base::Status LmEngine::Prepare(engine::Request& request) const {
  return PrepareRequest(*model_, request);
}

engine::MemoryUse LmEngine::memory() const {
  return {model_->decoder.weight_bytes(),
          model_->decoder.MemoryBytes(model_->options.step_rows_max, model_->options.running_max),
          blocks_.bytes()};
}

std::unique_ptr<engine::Step> LmEngine::MakeStep(int) {
  return std::make_unique<LmStep>(&model_->decoder, model_->options.running_max);
}

SequenceSpec LmEngine::FrameOf(const Asked& asked, const engine::Call& call) {
  SequenceSpec frame;
  frame.priority = call.priority() > 0 ? call.priority() : model_->options.priority_default;
  frame.deadline = call.deadline();
  frame.arrival = arrivals_;
  frame.domain = scheduler_.cache().Domain(asked.cache_salt);
  return frame;
}

engine::Admission LmEngine::Admit(std::unique_ptr<engine::Request>& request,
                                  const engine::Outlook& outlook) {
  if (pending() >= model_->options.sequences_max) return engine::Admission::kQueueFull;
  backlog_ = outlook.backlog;
  const Asked& asked = static_cast<const Group&>(*request->prepared).asked();
  SequenceSpec frame = FrameOf(asked, *request->call);
  const std::span<const int32_t> prompt(asked.prompt);
  const int64_t found =
      prompt.empty() ? 0 : scheduler_.cache().Find(frame.domain, prompt.first(prompt.size() - 1));
  // While there are others, their steps tell what steps cost.
  if (IsTooLate(asked, frame, found, outlook) &&
      (pending() > 0 || !costs_.TakeProbe(outlook.now))) {
    return engine::Admission::kTooLate;
  }
  ++arrivals_;
  // Not every asker says when its request arrived.
  const base::Time arrived =
      request->arrival == base::Time{} ? request->enqueued : request->arrival;
  if (request->call->ttft() < base::Duration::Max()) {
    frame.due = arrived + request->call->ttft();
    frame.deadline = std::min(frame.deadline, frame.due);
  }
  std::unique_ptr<Group> group = Group::Begin(std::move(request));
  group->place().arrived = arrived;
  group->place().index = groups_.size();
  group->place().frame = std::move(frame);
  group->place().cached = found;
  groups_.push_back(std::move(group));
  CHECK(Feed(*groups_.back())) << "a request without a sequence";
  if (groups_.back()->feeds()) feeding_.push_back(groups_.back().get());
  measures_.Follow(scheduler_);
  return engine::Admission::kQueued;
}

bool LmEngine::Feed(Group& group) {
  Group::Place& place = group.place();
  while (static_cast<int32_t>(place.branches.size()) < model_->options.running_max) {
    // One of each request finds room in any case.
    const bool extra = !place.branches.empty();
    if (extra && extra_branches_ >= kBranchesMax * model_->options.running_max) break;
    SequenceSpec spec = place.frame;
    if (!group.Next(spec)) break;
    if (extra) ++extra_branches_;
    const Scheduler::Id id = scheduler_.Add(std::move(spec));
    CHECK(id != Scheduler::kNone) << "lengths are checked when requests are prepared";
    place.branches.push_back({id, place.branches_begun});
    OwnerOf(id) = {&group, place.branches_begun++};
  }
  return !place.branches.empty();
}

void LmEngine::FeedAll() {
  size_t kept = 0;
  for (Group* const group : feeding_) {
    Feed(*group);
    if (group->feeds()) feeding_[kept++] = group;
  }
  feeding_.resize(kept);
}

void LmEngine::OnEvent(const engine::Event&, const engine::Outlook&, engine::Replies&) {}

void LmEngine::DropBranch(Group& group, Scheduler::Id id) {
  std::vector<Group::Branch>& branches = group.place().branches;
  const auto found = std::find_if(branches.begin(), branches.end(),
                                  [&](const Group::Branch& branch) { return branch.id == id; });
  *found = branches.back();
  branches.pop_back();
  if (!branches.empty()) --extra_branches_;
  OwnerOf(id) = {};
  scheduler_.Remove(id);
}

std::unique_ptr<Group> LmEngine::TakeOut(size_t index) {
  std::unique_ptr<Group> group = std::move(groups_[index]);
  while (!group->place().branches.empty()) DropBranch(*group, group->place().branches.back().id);
  feeding_.erase(std::remove(feeding_.begin(), feeding_.end(), group.get()), feeding_.end());
  std::swap(groups_[index], groups_.back());
  groups_.pop_back();
  if (index < groups_.size()) groups_[index]->place().index = index;
  return group;
}

void LmEngine::Sweep(base::Time now, engine::Replies& replies) {
  const size_t before = groups_.size();
  for (size_t i = groups_.size(); i-- > 0;) {
    const engine::Call& call = groups_[i]->call();
    // A step that runs points to its groups: they go when it is committed.
    if (groups_[i]->place().in_step > 0 || (!call.cancelled() && !call.expired(now))) continue;
    const bool cancelled = call.cancelled();
    measures_.CountAbort();
    replies.Refuse(TakeOut(i)->TakeRequest(),
                   cancelled ? engine::reason::kCancelled : engine::reason::kDeadlineQueue);
  }
  if (groups_.size() == before) return;
  // No step may follow that would tell it.
  if (groups_.empty()) busy_since_ = base::Time::Never();
  measures_.Follow(scheduler_);
}

const engine::Offer* LmEngine::BestOffer(base::Time now, engine::WorkClass work) {
  if (groups_.empty()) return nullptr;
  const bool timed = work == engine::WorkClass::kTimed;
  bool any = false;
  engine::Offer& offer = offers_[timed ? 0 : 1];
  offer = {};
  offer.work = work;
  offer.priority = std::numeric_limits<int>::max();
  offer.wait_until = now;
  StepLoad load;
  load.rows = std::max<int64_t>(1, scheduler_.RowsToGo(model_->options.step_rows_max));
  load.logits = std::min<int64_t>(load.rows, scheduler_.running());
  offer.cost = costs_.High(load);
  for (const std::unique_ptr<Group>& group : groups_) {
    const Group::Place& place = group->place();
    const bool idle = place.in_step == static_cast<int32_t>(place.branches.size());
    if (IsTimed(*group) != timed || (idle && place.in_step > 0)) continue;
    any = true;
    offer.priority = std::min(offer.priority, static_cast<int>(place.frame.priority));
    const base::Time deadline = group->call().deadline();
    if (!deadline.never()) {
      offer.latest_start = std::min(offer.latest_start, deadline - offer.cost.predicted);
    }
    // What cannot come when it is due any more is not urgent for that.
    const base::Time due = place.frame.due;
    if (due.never() || due - offer.cost.predicted < now) continue;
    offer.latest_start = std::min(offer.latest_start, due - offer.cost.predicted);
  }
  return any ? &offer : nullptr;
}

bool LmEngine::Form(const engine::Offer&, engine::Step& base_step, engine::Replies&) {
  auto& step = static_cast<LmStep&>(base_step);
  FeedAll();
  if (!scheduler_.Form(LimitsAt(step.formed), step.plan)) return false;
  ++forms_;
  step.groups.clear();
  step.readings.Clear();
  for (const Scheduler::Member& member : step.plan.members) {
    const Owner owner = OwnerOf(member.id);
    Group::Place& place = owner.group->place();
    ++place.in_step;
    if (place.found_tokens < 0) {
      place.found_tokens = member.from;
      measures_.CountStart(step.formed - owner.group->request().enqueued);
    }
    if (std::exchange(place.formed, forms_) != forms_) step.groups.push_back(owner.group);
    step.readings.BeginMember();
    owner.group->Ask(owner.branch, member, step.readings);
  }
  step.rows = step.plan.rows.rows();
  step.predicted = costs_.High(step.plan.load).predicted;
  return true;
}

void LmEngine::Launch(engine::Step& base_step, engine::Exec& exec, engine::Safepoint& safepoint) {
  auto& step = static_cast<LmStep&>(base_step);
  Runner runner({.pool = exec.pool, .safepoint = &safepoint});
  Decoder::States states;
  if (!model_->decoder.RunLayers(step.plan.rows, cache_, exec.memory, model_->options.running_max,
                                 states, runner)) {
    return;
  }
  // Commit is told where this was abandoned.
  static_cast<void>(step.readings.Run(step.plan.rows, states, runner));
}

void LmEngine::HearMember(const LmStep& step, size_t index) {
  const Scheduler::Member& member = step.plan.members[index];
  Owner& owner = OwnerOf(member.id);
  const std::optional<int32_t> token =
      owner.group->Hear(owner.branch, member, step.readings.ResultsOf(index));
  if (member.whole) NoteToken(owner, member.id, step.finished, token.has_value());
  if (token.has_value()) {
    scheduler_.Append(member.id, *token);
  } else if (member.whole) {
    DropBranch(*owner.group, member.id);
  }
}

void LmEngine::TellAll(const LmStep& step, engine::Replies& replies) {
  for (Group* const group : step.groups) {
    if (group->done()) {
      // Another step may still point to it.
      if (group->place().in_step > 0) continue;
      engine::Reply reply = group->Finish();
      NoteAnswer(*group, reply, step.finished);
      replies.Finish(TakeOut(group->place().index)->TakeRequest(), std::move(reply));
      continue;
    }
    // A reader that is behind gets more in its next chunk.
    engine::Call& reader = *group->request().call;
    while (group->has_news() && reader.takes_chunks() && reader.TakeCredit()) {
      replies.Chunk(group->request(), group->TakeChunk());
    }
  }
}

void LmEngine::Commit(engine::Step& base_step, engine::StepStatus status,
                      engine::Replies& replies) {
  auto& step = static_cast<LmStep&>(base_step);
  CHECK(status != engine::StepStatus::kFailed);
  for (const Scheduler::Member& member : step.plan.members) {
    --OwnerOf(member.id).group->place().in_step;
  }
  if (status == engine::StepStatus::kDone) {
    scheduler_.Complete(step.plan);
    for (size_t i = 0; i < step.plan.members.size(); ++i) HearMember(step, i);
    TellAll(step, replies);
  } else {
    scheduler_.Abandon(step.plan);
  }
  NoteStep(step, status);
}

void LmEngine::CheckIntegrity() const {
  scheduler_.CheckIntegrity();
  size_t branches = 0;
  int32_t extra = 0;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const Group::Place& place = groups_[i]->place();
    CHECK_EQ(place.index, i);
    CHECK(place.in_step >= 0 && place.in_step <= static_cast<int32_t>(place.branches.size()));
    CHECK(!place.branches.empty() || groups_[i]->feeds());
    for (const Group::Branch& branch : place.branches) {
      const Owner& owner = owners_[static_cast<size_t>(branch.id)];
      CHECK(owner.group == groups_[i].get() && owner.branch == branch.number);
    }
    branches += place.branches.size();
    extra += std::max(0, static_cast<int32_t>(place.branches.size()) - 1);
  }
  CHECK_EQ(static_cast<size_t>(scheduler_.running() + scheduler_.waiting()), branches);
  CHECK_EQ(extra, extra_branches_);
}

}  // namespace sluice::lm

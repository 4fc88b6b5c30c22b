// The turns of the loop: what the lease holder does. Who holds the lease, and when, is in lease.cc.
#include "engine/device_loop.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace sluice::engine {

// The whole of scheduling: offer = best(engines); form(offer, slot); launch(slot); commit(oldest).
bool DeviceLoop::Turn(base::Duration step_max, base::Time read) {
  // A submitter's reading may be older than the loop's own last one.
  const base::Time now = std::max(read, last_read_);
  last_read_ = now;
  Collect(now);
  SweepIfDue(now);
  bool worked = CommitFinished();
  CarryOutCommands();
  next_wake_ = held_ > 0 ? swept_ + options_.sweep_every : base::Time::Never();
  if (in_flight() < options_.depth && commands_ == nullptr) {
    const Choice choice = Best(now, nullptr);
    if (choice.seat != nullptr && choice.offer.cost.predicted <= step_max) {
      Slot& slot = *slots_[static_cast<size_t>(launched_ % options_.depth)];
      if (Form(choice, slot, now)) {
        ++launched_;
        Launch(slot);
        CommitFinished();
      }
      worked = true;
    }
  }
  PostReplies();
  return worked;
}

// Takes what the inbox holds: requests go to their engines, events too, commands wait for a moment
// with no step running.
void DeviceLoop::Collect(base::Time now) {
  for (InboxNode* node = inbox_.TakeAll(); node != nullptr;) {
    InboxNode* next = node->inbox_next;
    switch (node->inbox_kind) {
      case InboxNode::Kind::kRequest:
        TakeRequest(std::unique_ptr<Request>(static_cast<Request*>(node)), now);
        break;
      case InboxNode::Kind::kEvent: {
        const std::unique_ptr<PostedEvent> posted(static_cast<PostedEvent*>(node));
        Seat& seat = posted->pin->seat();
        seat.engine->OnEvent(posted->event, OutlookFor(now), replies_);
        break;
      }
      case InboxNode::Kind::kCommand: {
        Command** last = &commands_;
        while (*last != nullptr) last = &(*last)->next;
        *last = static_cast<Command*>(node);
        break;
      }
    }
    node = next;
  }
}

void DeviceLoop::TakeRequest(std::unique_ptr<Request> request, base::Time now) {
  inbox_.CountTaken();
  ++held_;
  if (request->call->cancelled()) return replies_.Refuse(std::move(request), reason::kCancelled);
  if (request->call->expired(now)) {
    return replies_.Refuse(std::move(request), reason::kDeadlineAdmission);
  }
  Seat& seat = request->pin->seat();
  seat.idle = false;
  switch (seat.engine->Admit(request, OutlookFor(now))) {
    case Admission::kQueued:
    case Admission::kParked:
      CHECK(request == nullptr) << "an engine takes what it admits";
      return;
    case Admission::kQueueFull:
      return replies_.Refuse(std::move(request), reason::kQueueFull);
    case Admission::kTooLate:
      return replies_.Refuse(std::move(request), reason::kDeadlineAdmission);
  }
}

Outlook DeviceLoop::OutlookFor(base::Time now) {
  base::Duration ahead;
  for (int64_t i = committed_; i < launched_; ++i) {
    ahead = ahead + RemainingOf(*slots_[static_cast<size_t>(i % options_.depth)], now);
  }
  for (const Slot* slot = running_; slot != nullptr && slot->level > 0; slot = slot->outer) {
    ahead = ahead + RemainingOf(*slot, now);
  }
  // What is longer than a few quanta waits until its outer step has had a ninth of that.
  const base::Duration nest_below =
      options_.nesting && running_ != nullptr ? ahead : base::Duration{};
  const base::Duration brief = options_.nesting ? options_.quantum * kNestShare : base::Duration{};
  return {now, now + ahead, nest_below, brief, &backlog_};
}

base::Duration DeviceLoop::RemainingOf(const Slot& slot, base::Time now) const {
  return std::max(slot.step->predicted - slot.Own(now), base::Duration{});
}

void DeviceLoop::SweepIfDue(base::Time now) {
  if (held_ == 0 || now < swept_ + options_.sweep_every) return;
  swept_ = now;
  for (Seat* seat : seats_) {
    if (!seat->idle) seat->engine->Sweep(now, replies_);
  }
}

// The most urgent offer: among those of one class by priority, then by latest start, then by who
// was served least. Timed work goes before untimed work until the tenth is due. `around`: the step
// that a nested one would interrupt, or null. Brings next_wake_ forward to when an offer that waits
// for company stops waiting.
DeviceLoop::Choice DeviceLoop::Best(base::Time now, const Slot* around) {
  Choice best[2];
  bool waits[2] = {false, false};
  base::Time wake = next_wake_;
  for (Seat* seat : seats_) {
    if (seat->idle) continue;
    bool offered = false;
    for (const WorkClass work : {WorkClass::kTimed, WorkClass::kUntimed}) {
      const Offer* offer = seat->engine->BestOffer(now, work);
      if (offer == nullptr) continue;
      offered = true;
      DCHECK(offer->wait_until <= std::max(now, offer->latest_start));
      if (offer->wait_until > now) {
        wake = std::min(wake, offer->wait_until);
        continue;
      }
      const size_t at = work == WorkClass::kTimed ? 0 : 1;
      waits[at] = true;
      if (around != nullptr && (seat->in_flight > 0 || !MayNest(*around, *offer, now))) {
        continue;
      }
      Choice& held = best[at];
      const auto rank = [](const Seat& of, const Offer& its) {
        return std::tuple(its.priority, its.latest_start, of.served);
      };
      if (held.seat == nullptr || rank(*seat, *offer) < rank(*held.seat, held.offer)) {
        held.seat = seat;
        held.offer = *offer;
      }
    }
    seat->idle = !offered && seat->engine->pending() == 0;
  }
  next_wake_ = wake;
  Choice& timed = best[0];
  Choice& untimed = best[1];
  timed.rivals_waited = waits[1];
  untimed.rivals_waited = waits[0];
  if (!waits[1] && around == nullptr) fair_share_.NobodyWaits();
  if (timed.seat == nullptr) return untimed;
  if (untimed.seat == nullptr) return timed;
  return fair_share_.UntimedGoesFirst(untimed.offer.cost.predicted) ? untimed : timed;
}

bool DeviceLoop::Form(const Choice& choice, Slot& slot, base::Time now) {
  slot.seat = choice.seat;
  slot.offer = choice.offer;
  slot.rivals_waited = choice.rivals_waited;
  slot.step = slot.seat->steps[static_cast<size_t>(slot.index)].get();
  Step& step = *slot.step;
  step.formed = now;
  step.launched = now;
  step.finished = base::Time::Never();
  step.nested = {};
  step.status = {};
  step.probe = false;
  step.rows = choice.offer.cost.rows;
  step.predicted = choice.offer.cost.predicted;
  if (!slot.seat->engine->Form(slot.offer, step, replies_)) return false;
  ++slot.seat->in_flight;
  return true;
}

void DeviceLoop::Launch(Slot& slot) {
  slot.outer = running_;
  running_ = &slot;
  // Behind what the steps around it take of the same arena.
  slot.exec = slot.outer == nullptr ? Exec{options_.pool, slot.arena.data(), 0} : slot.outer->exec;
  slot.exec.memory += slot.exec.memory_bytes;
  slot.exec.memory_bytes = slot.seat->step_bytes;
  slot.step->launched = Now();
  slot.looked = slot.step->launched;
  slot.paused = base::Time::Never();
  slot.abandoned = false;
  slot.held_when_quiet = -1;
  device_->Start(*slot.seat->engine, *slot.step, slot.exec, slot);
  running_ = slot.outer;
}

// Steps finish in launch order, so the oldest one tells.
bool DeviceLoop::CommitFinished() {
  bool committed = false;
  while (in_flight() > 0 && device_->Finished(*OldestSlot().step)) {
    Commit(OldestSlot());
    ++committed_;
    committed = true;
  }
  return committed;
}

void DeviceLoop::Commit(Slot& slot) {
  Step& step = *slot.step;
  Seat& seat = *slot.seat;
  if (step.finished.never()) step.finished = Now();
  if (slot.level == 0) {
    // A stream begins a step when it is done with the one before.
    step.launched = std::max(step.launched, last_finished_);
    last_finished_ = step.finished;
  }
  const StepStatus status = slot.abandoned     ? StepStatus::kAbandoned
                            : step.status.ok() ? StepStatus::kDone
                                               : StepStatus::kFailed;
  const size_t first = replies_.rows().size();
  seat.engine->Commit(step, status, replies_);
  --seat.in_flight;
  const base::Time now = Now();
  last_read_ = now;
  for (size_t i = first; i < replies_.rows().size(); ++i) {
    Replies::Row& row = replies_.rows()[i];
    if (row.request == nullptr) continue;
    // Others may have been pushed since the turn's clock was read.
    const base::Duration queued = std::max({}, step.formed - row.request->enqueued);
    row.reply.timings = {queued, step.launched - step.formed, step.computed(), now - step.finished,
                         step.rows};
  }
  if (status == StepStatus::kDone) seat.statistics->RecordStep(step, now);
  if (status == StepStatus::kAbandoned) seat.statistics->RecordAbandoned();
  const base::Duration took = now - step.launched - step.nested;
  seat.served = seat.served + took;
  seat.short_steps.store(step.computed() < options_.inline_below, std::memory_order_relaxed);
  if (slot.offer.work == WorkClass::kTimed) {
    fair_share_.TimedRan(took, slot.rivals_waited);
  } else {
    fair_share_.UntimedRan(took, slot.rivals_waited);
  }
  slot.step = nullptr;
}

// Posts what has been collected and wakes each io thread once. A sink may Submit from inside Post:
// the lease is held, so that only pushes into the inbox.
void DeviceLoop::PostReplies() {
  std::vector<Replies::Row>& rows = replies_.rows();
  if (rows.empty()) return;
  const base::Time now = last_read_;
  int64_t answered = 0;
  int64_t payloads = 0;
  for (Replies::Row& row : rows) {
    if (row.request != nullptr) {
      payloads += row.request->bytes;
      row.request->pin->statistics().RecordReply(*row.request, row.reply, now);
      ++answered;
    }
    Waker* waker = row.sink->waker();
    row.sink->Post(std::move(row.reply));
    if (waker != nullptr && std::find(wakers_.begin(), wakers_.end(), waker) == wakers_.end()) {
      wakers_.push_back(waker);
    }
  }
  for (Waker* waker : wakers_) waker->Wake();
  wakers_.clear();
  held_ -= answered;
  rows.clear();  // requests and their pins go here, after everybody was woken
  inbox_.ReleaseBytes(payloads);
  if (unanswered_.fetch_sub(answered, std::memory_order_seq_cst) == answered) drained_bell_.Ring();
}

// A running step offers to give way. Looks around at most every quarter of a quantum, and then only
// when something waits.
bool DeviceLoop::ReachSafepoint(Slot& slot) {
  if (slot.abandoned) return false;
  if (inbox_.empty() && held_ == slot.held_when_quiet) {
    const base::Time quick = Now();
    if (quick < slot.looked + options_.quantum) return true;
  }
  const base::Time now = Now();
  last_read_ = now;
  slot.looked = now;
  if (!slot.step->wanted(now)) {
    slot.abandoned = true;
    return false;
  }
  Collect(now);
  SweepIfDue(now);
  slot.held_when_quiet = held_;
  if (options_.nesting && slot.level < kNestLevels) {
    const Choice choice = Best(now, &slot);
    if (choice.seat != nullptr) {
      RunNested(choice, slot, now);
      return true;
    }
  }
  PostReplies();
  return true;
}

void DeviceLoop::RunNested(const Choice& choice, Slot& around, base::Time now) {
  Slot& slot = nested_[static_cast<size_t>(around.level)];
  around.paused = now;
  if (Form(choice, slot, now)) {
    Launch(slot);
    Commit(slot);
  }
  PostReplies();
  around.held_when_quiet = -1;  // there may be more
  around.step->nested = around.step->nested + (Now() - now);
  around.paused = base::Time::Never();
}

// One shorter, more urgent step: shorter than what is left of the outer one, short enough that the
// outer ones keep their shares of the device, and either it would miss its deadline by waiting, or
// it does not make an outer one miss its own.
bool DeviceLoop::MayNest(const Slot& around, const Offer& offer, base::Time now) const {
  const base::Duration left = std::max(RemainingOf(around, now), options_.quantum);
  const base::Duration cost = offer.cost.predicted * (offer.cost.measured ? 1 : kCaution);
  if (offer.priority > around.offer.priority || cost >= left) return false;
  bool harmless = true;
  int64_t share = 0;
  base::Duration ahead = cost;
  for (const Slot* slot = &around; slot != nullptr; slot = slot->outer) {
    share += kNestShare;
    const base::Duration own = slot->Own(now);
    // Costs are predictions: what nested steps really took counts.
    const base::Duration nested = now - slot->step->launched - own;
    if (nested + cost > std::max(own, options_.quantum) * share) return false;
    ahead = ahead + std::max(RemainingOf(*slot, now), options_.quantum);
    harmless &= slot->offer.latest_start.never() ||
                now + ahead <= slot->offer.latest_start + slot->step->predicted;
  }
  return harmless || offer.latest_start < now + left;
}

void DeviceLoop::CheckIntegrity() const {
  CHECK(in_flight() >= 0 && in_flight() <= options_.depth);
  CHECK(running_ == nullptr && replies_.rows().empty());
  int64_t pending = 0;
  int64_t steps = 0;
  for (const Seat* seat : seats_) {
    seat->engine->CheckIntegrity();
    CHECK_GE(seat->in_flight, 0);
    pending += seat->engine->pending();
    steps += seat->in_flight;
    CHECK(!seat->idle || seat->engine->pending() == 0) << "an idle seat holds requests";
  }
  CHECK_EQ(pending, held_);
  CHECK_EQ(steps, in_flight());
  CHECK_EQ(held_ + inbox_.requests(), unanswered());
  CHECK(unanswered() > 0 || inbox_.bytes() == 0) << "payloads of answered requests are counted";
}

}  // namespace sluice::engine

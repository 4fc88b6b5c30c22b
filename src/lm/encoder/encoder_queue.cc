#include "lm/encoder/encoder_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sluice::lm {

using engine::Admission;
using engine::Backlog;
using engine::Cost;
using engine::WorkClass;

bool EncoderQueue::Before::operator()(const Entry* a, const Entry* b) const {
  if (a->level != b->level) return a->level < b->level;
  if (a->deadline != b->deadline) return a->deadline < b->deadline;
  return a->arrival < b->arrival;
}

EncoderQueue::EncoderQueue(const Options& options, engine::CostModel& costs)
    : options_(options), costs_(costs) {
  CHECK(options_.priority_levels >= 1 && options_.priority_levels <= Backlog::kLevelsMax);
  CHECK(options_.priority_default >= 1 && options_.priority_default <= options_.priority_levels);
}

Cost EncoderQueue::CostOf(int64_t units) const {
  const int64_t full = units / options_.step_units_max;
  const int64_t rest = units % options_.step_units_max;
  Cost cost;
  cost.measured = true;
  if (full > 0) {
    cost = costs_.Predict(0, options_.step_units_max);
    cost.predicted = cost.predicted * full;
  }
  if (rest > 0) {
    const Cost last = costs_.Predict(0, rest);
    cost.predicted = cost.predicted + last.predicted;
    cost.measured = cost.measured && last.measured;
  }
  cost.rows = units;
  return cost;
}

// --- Admission.

// Whether the request can be done by its deadline behind what certainly goes before it. Errs on the
// side of taking it: what it overlooks is dropped later, before it costs anything.
bool EncoderQueue::CanMeet(int64_t units, int level, base::Time deadline,
                           const engine::Outlook& outlook) const {
  if (deadline.never()) return true;
  int64_t before = 0;
  for (int above = 0; above <= level; ++above) {
    before += by_deadline_.Before(above, deadline, outlook.now).units;
  }
  const Cost all = CostOf(before + units);
  if (!all.measured) return true;
  base::Duration work = all.predicted;
  if (outlook.backlog != nullptr) {
    // Of other engines, what goes before this one's first step.
    const Backlog* const own = loop_backlog_ != nullptr ? &by_start_ : nullptr;
    Backlog::Sum sum = outlook.backlog->Before(level, deadline - work, outlook.now, own);
    for (int above = 0; above < level; ++above) {
      sum += outlook.backlog->All(above);
      if (own != nullptr) sum = sum - own->All(above);
    }
    // Longer work gives way to a brief step at its safepoints.
    const bool is_brief = CostOf(units).predicted <= outlook.brief;
    work = work + (is_brief ? sum.brief : sum.brief + sum.lengthy);
  }
  return outlook.start_of(all.predicted) + work <= deadline;
}

Admission EncoderQueue::Add(std::unique_ptr<engine::Request>& request, std::vector<int32_t> units,
                            const engine::Outlook& outlook) {
  if (size() >= options_.requests_max || request->bytes > options_.bytes_max - bytes_) {
    return Admission::kQueueFull;
  }
  const int asked = request->call->priority();
  const int level =
      std::clamp(asked > 0 ? asked : options_.priority_default, 1, options_.priority_levels) - 1;
  int64_t sum = 0;
  for (const int32_t one : units) sum += one;
  bool probe = false;
  if (!CanMeet(sum, level, request->call->deadline(), outlook)) {
    if (!costs_.TakeProbe(outlook.now)) return Admission::kTooLate;
    probe = true;
  }
  auto entry = std::make_unique<Entry>();
  entry->units = std::move(units);
  entry->units_left = sum;
  entry->probe = probe;
  entry->index = entries_.size();
  entry->level = level;
  entry->deadline = request->call->deadline();
  entry->arrival = arrivals_++;
  entry->request = std::move(request);
  bytes_ += entry->request->bytes;
  ready_units_ += sum;
  loop_backlog_ = outlook.backlog;
  brief_ = outlook.brief;
  Count(*entry, outlook.now, outlook.brief);
  ready_[Index(WorkOf(*entry))].insert(entry.get());
  entries_.push_back(std::move(entry));
  return Admission::kQueued;
}

// Counts what of the request is in no step yet as work that waits.
void EncoderQueue::Count(Entry& entry, base::Time now, base::Duration brief) {
  if (WorkOf(entry) == WorkClass::kUntimed || entry.units_left == 0) return;
  const Cost own = CostOf(entry.units_left);
  // Others join its steps: it adds its share of full ones.
  const Cost full = costs_.Predict(0, options_.step_units_max);
  entry.counted = {entry.units_left, {}, own.predicted <= brief};
  if (full.measured && own.measured) {
    const double share =
        static_cast<double>(entry.units_left) / static_cast<double>(options_.step_units_max);
    const auto of_full = static_cast<int64_t>(share * static_cast<double>(full.predicted.ns));
    entry.counted.time = std::min(own.predicted, base::Duration{of_full});
  }
  const base::Time start = entry.deadline - own.predicted;
  entry.counted.tight = engine::Outlook{now, now, {}, brief}.IsTight(own.predicted, start);
  entry.deadline_slice = by_deadline_.Add(entry.level, entry.deadline, now, entry.counted);
  entry.start_slice = by_start_.Add(entry.level, start, now, entry.counted);
  entry.in_loop = loop_backlog_ != nullptr;
  if (entry.in_loop) loop_backlog_->Add(entry.level, start, now, entry.counted);
  entry.is_counted = true;
}

void EncoderQueue::Uncount(Entry& entry) {
  if (!entry.is_counted) return;
  by_deadline_.Remove(entry.level, entry.deadline_slice, entry.counted);
  by_start_.Remove(entry.level, entry.start_slice, entry.counted);
  if (entry.in_loop) loop_backlog_->Remove(entry.level, entry.start_slice, entry.counted);
  entry.is_counted = false;
}

void EncoderQueue::Withdraw(Entry& entry) {
  Uncount(entry);
  if (ready_[Index(WorkOf(entry))].erase(&entry) > 0) ready_units_ -= entry.units_left;
}

// --- Steps.

const engine::Offer* EncoderQueue::BestOffer(base::Time, WorkClass work) {
  const Ready& ready = ready_[Index(work)];
  if (ready.empty()) return nullptr;
  const Entry& lead = **ready.begin();
  const int64_t first = lead.units[static_cast<size_t>(lead.next)];
  engine::Offer& offer = offers_[Index(work)];
  offer = {};
  offer.work = work;
  offer.priority = lead.level + 1;
  const int64_t units = std::max(first, std::min(ready_units_, options_.step_units_max));
  offer.cost = costs_.Predict(0, units);
  offer.wait_until = {};
  // Of a request of many steps the last one must end by then, and its first begin the earlier.
  if (work == WorkClass::kTimed) {
    const int64_t rest = std::max<int64_t>(0, lead.units_left - units);
    offer.latest_start = lead.deadline - (offer.cost.predicted + CostOf(rest).predicted);
  }
  return &offer;
}

EncoderQueue::Fit EncoderQueue::TryFit(Entry& entry, bool alone, base::Time now) {
  const engine::Call& call = *entry.request->call;
  if (call.cancelled()) return Fit::kDropCancelled;
  if (entry.deadline <= now) return Fit::kDropLate;
  if (entry.probe && alone) return Fit::kJoins;
  const Cost own = CostOf(entry.units_left);
  if (own.measured && now + own.predicted > entry.deadline) {
    if (entry.probe) return Fit::kFull;  // it runs alone, so that it measures what it should
    if (!alone || !costs_.TakeProbe(now)) return Fit::kDropLate;
    entry.probe = true;
  }
  return Fit::kJoins;
}

int64_t EncoderQueue::CountThatFit(const Entry& entry, const Room& taken, base::Time now) const {
  const bool alone = taken.sequences == 0;
  int64_t units = taken.units;
  int64_t count = 0;
  const int64_t most =
      std::min(entry.sequences() - entry.next, options_.step_sequences_max - taken.sequences);
  while (count < most) {
    const int64_t more = units + entry.units[static_cast<size_t>(entry.next + count)];
    if (more > options_.step_units_max && (!alone || count > 0)) break;
    if (!alone) {
      const Cost joined = costs_.Predict(0, more);
      if (joined.measured && now + joined.predicted > std::min(taken.tightest, entry.deadline)) {
        break;
      }
    }
    units = more;
    ++count;
  }
  return count;
}

bool EncoderQueue::Take(const engine::Offer& offer, engine::Step& step,
                        std::vector<Member>& members, engine::Replies& replies) {
  CHECK(members.empty());
  const WorkClass other = offer.work == WorkClass::kTimed ? WorkClass::kUntimed : WorkClass::kTimed;
  Room taken{0, 0, base::Time::Never()};
  bool full = false;
  for (const WorkClass work : {offer.work, other}) {
    Ready& ready = ready_[Index(work)];
    while (!full && !ready.empty()) {
      Entry& entry = **ready.begin();
      const Fit fit = TryFit(entry, members.empty(), step.formed);
      if (fit == Fit::kDropCancelled || fit == Fit::kDropLate) {
        const char* const why =
            fit == Fit::kDropLate ? engine::reason::kDeadlineQueue : engine::reason::kCancelled;
        if (entry.steps == 0) {
          replies.Refuse(Remove(entry), why);
        } else {
          // A step holds some of it: it ends with that.
          entry.abandoned = true;
          Withdraw(entry);
        }
        continue;
      }
      const int64_t count = fit == Fit::kFull ? 0 : CountThatFit(entry, taken, step.formed);
      if (count == 0) {
        full = true;
        break;
      }
      int64_t units = 0;
      for (int64_t i = 0; i < count; ++i) {
        units += entry.units[static_cast<size_t>(entry.next + i)];
      }
      members.push_back({&entry, entry.next, count});
      taken.units += units;
      taken.sequences += count;
      if (!entry.probe) taken.tightest = std::min(taken.tightest, entry.deadline);
      step.probe |= entry.probe;
      Uncount(entry);
      entry.next += count;
      entry.units_left -= units;
      ready_units_ -= units;
      ++entry.steps;
      full = entry.next < entry.sequences();
      if (!full) ready.erase(ready.begin());
      Count(entry, step.formed, brief_);
    }
    // What the offer promised has been dropped: the other class waits for its own turn.
    if (members.empty()) break;
  }
  if (members.empty()) return false;
  const Cost cost = costs_.Predict(0, taken.units);
  step.rows = taken.units;
  step.predicted = cost.predicted;
  step.probe |= !cost.measured;
  return true;
}

void EncoderQueue::Return(const Member& member, bool computed) {
  Entry& entry = *member.entry;
  --entry.steps;
  if (computed) {
    entry.done += member.count;
  } else {
    entry.abandoned = true;
    Withdraw(entry);
  }
}

std::unique_ptr<engine::Request> EncoderQueue::Remove(Entry& entry) {
  CHECK_EQ(entry.steps, 0);
  Withdraw(entry);
  bytes_ -= entry.request->bytes;
  std::unique_ptr<engine::Request> request = std::move(entry.request);
  const size_t index = entry.index;
  std::swap(entries_[index], entries_.back());
  entries_[index]->index = index;
  entries_.pop_back();
  return request;
}

void EncoderQueue::Sweep(base::Time now, engine::Replies& replies) {
  const auto refuse = [&](Entry& entry) {
    replies.Refuse(Remove(entry), entry.deadline <= now ? engine::reason::kDeadlineQueue
                                                        : engine::reason::kCancelled);
  };
  const auto count = std::min(size(), kSweepMax);
  for (int64_t i = 0; i < count && !entries_.empty(); ++i) {
    sweep_at_ = (sweep_at_ + 1) % entries_.size();
    Entry& entry = *entries_[sweep_at_];
    // A step that runs points to its requests: they go when it is committed.
    if (entry.steps > 0) continue;
    if (entry.request->call->cancelled() || entry.deadline <= now) refuse(entry);
  }
}

void EncoderQueue::CheckIntegrity() const {
  int64_t bytes = 0;
  int64_t units = 0;
  int64_t timed = 0;
  size_t ready = 0;
  for (const std::unique_ptr<Entry>& entry : entries_) {
    CHECK(entry->request != nullptr && entries_[entry->index].get() == entry.get());
    bytes += entry->request->bytes;
    const bool waits = ready_[Index(WorkOf(*entry))].count(entry.get()) > 0;
    CHECK(entry->abandoned || waits == (entry->next < entry->sequences()));
    CHECK(waits || entry->steps > 0) << "a request that nobody will finish";
    if (!waits) continue;
    ++ready;
    units += entry->units_left;
    if (entry->is_counted) timed += entry->units_left;
  }
  CHECK_EQ(bytes, bytes_);
  CHECK_EQ(units, ready_units_);
  CHECK_EQ(ready, ready_[0].size() + ready_[1].size());
  CHECK_EQ(timed, by_deadline_.All().units);
  CHECK_EQ(timed, by_start_.All().units);
}

}  // namespace sluice::lm

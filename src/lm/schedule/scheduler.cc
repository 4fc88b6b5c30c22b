#include "lm/schedule/scheduler.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace sluice::lm {

Scheduler::Scheduler(Options options) : options_(options), cache_(options.cache) {
  CHECK_EQ(options.cache.block_rows, kernels::kCacheBlockRows);
  running_.reserve(static_cast<size_t>(options.running_max));
  waiting_.reserve(static_cast<size_t>(options.sequences_max));
}

bool Scheduler::CanEverRun(int64_t tokens) const {
  // One block more for the copy of a shared one that it leaves.
  const int64_t blocks = (tokens + cache_.block_rows() - 1) / cache_.block_rows() + 1;
  return blocks <= cache_.block_count();
}

Scheduler::Id Scheduler::Add(SequenceSpec spec) {
  CHECK(!spec.tokens.empty());
  const auto size = static_cast<int64_t>(spec.tokens.size());
  if (spec.outputs_from == SequenceSpec::kLast) spec.outputs_from = size - 1;
  CHECK(spec.outputs_from >= 0 && spec.outputs_from < size);
  if (running() + waiting() >= options_.sequences_max) return kNone;
  if (!CanEverRun(size + spec.generated_max)) return kNone;
  Id id = kNone;
  if (free_.empty()) {
    id = static_cast<Id>(entries_.size());
    entries_.push_back(std::make_unique<Entry>());
  } else {
    id = free_.back();
    free_.pop_back();
  }
  Entry& entry = at(id);
  entry = Entry{};
  entry.spec = std::move(spec);
  entry.spec.tokens.reserve(entry.spec.tokens.size() +
                            static_cast<size_t>(entry.spec.generated_max));
  entry.state = State::kWaiting;
  entry.order = added_++;
  Insert(waiting_, id);
  return id;
}

void Scheduler::Remove(Id id) {
  Entry& entry = at(id);
  CHECK(entry.state != State::kFree);
  entry.removed = true;
  if (!entry.in_step) Free(id);
}

void Scheduler::Free(Id id) {
  Entry& entry = at(id);
  if (entry.state == State::kRunning) {
    Publish(entry);
    cache_.Release(entry.rows);
    Erase(running_, id);
  } else {
    Erase(waiting_, id);
  }
  entry.state = State::kFree;
  entry.spec.tokens = {};
  free_.push_back(id);
}

bool Scheduler::IsMoreUrgent(Id a, Id b) const {
  const Entry& x = at(a);
  const Entry& y = at(b);
  return std::tie(x.spec.priority, x.spec.deadline, x.spec.arrival, x.order) <
         std::tie(y.spec.priority, y.spec.deadline, y.spec.arrival, y.order);
}

void Scheduler::Insert(std::vector<Id>& list, Id id) {
  const auto before = [this](Id a, Id b) { return IsMoreUrgent(a, b); };
  list.insert(std::upper_bound(list.begin(), list.end(), id, before), id);
}

void Scheduler::Erase(std::vector<Id>& list, Id id) {
  const auto found = std::find(list.begin(), list.end(), id);
  CHECK(found != list.end());
  list.erase(found);
}

bool Scheduler::Form(const StepLimits& limits, Plan& plan) {
  plan.rows.Clear();
  plan.members.clear();
  plan.load = {};
  ++forms_;
  const auto to_go = [this](Id id) {
    return static_cast<int64_t>(at(id).spec.tokens.size()) - at(id).computed;
  };
  // Preempting changes the list that is walked.
  turn_ = running_;
  base::Duration within = limits.time_max;
  for (const Id id : turn_) {
    if (plan.rows.rows() >= limits.rows_max) break;
    if (at(id).state != State::kRunning || to_go(id) != 1) continue;
    if (!AddMember(id, 1, plan)) continue;
    within = std::min(within, TimeOf(limits, at(id).spec.due));
  }
  StepLimits prompt_limits = limits;
  if (!plan.members.empty()) {
    prompt_limits.rows_max = std::min(limits.rows_max, StepLimits::kRowsBesideSpeech);
  }
  turn_.clear();
  std::merge(running_.begin(), running_.end(), waiting_.begin(), waiting_.end(),
             std::back_inserter(turn_), [this](Id a, Id b) { return IsMoreUrgent(a, b); });
  int64_t prompt_rows = 0;
  for (const Id id : turn_) {
    if (plan.rows.rows() >= prompt_limits.rows_max) break;
    Entry& entry = at(id);
    const bool waits = entry.state == State::kWaiting;
    if (waits) {
      // Who has just given way does not come back in the same step.
      if (running() >= options_.running_max || entry.preempted_in == forms_) continue;
      if (AwaitsPrefix(entry)) continue;
      Start(id);
    }
    if (entry.in_step || to_go(id) == 0) continue;
    const int64_t rows = PromptRows(entry, prompt_limits, within, prompt_rows, plan);
    if (rows == 0) break;
    if (!AddMember(id, rows, plan)) {
      if (waits) break;
      continue;
    }
    prompt_rows += rows;
    if (plan.members.back().whole) within = std::min(within, TimeOf(limits, entry.spec.due));
  }
  return !plan.members.empty();
}

int64_t Scheduler::PromptRows(const Entry& entry, const StepLimits& limits, base::Duration within,
                              int64_t prompt_rows, const Plan& plan) const {
  const auto size = static_cast<int64_t>(entry.spec.tokens.size());
  const int64_t most = std::min(size - entry.computed, limits.rows_max - plan.rows.rows());
  if (limits.cost == nullptr || within == base::Duration::Max()) return most;
  const int64_t fit = limits.cost->RowsWithin(within, plan.load, entry.computed, most,
                                              most == size - entry.computed);
  // Who waits for a first token is not kept waiting for ever.
  return std::max(fit, std::min(most, StepLimits::kPromptRowsMin - prompt_rows));
}

bool Scheduler::AwaitsPrefix(const Entry& entry) const {
  if (entry.spec.domain == kv::kNoDomain) return false;
  const std::span<const int32_t> tokens = Findable(entry.spec);
  int64_t found = -1;
  for (const Id id : running_) {
    const Entry& other = at(id);
    const auto ahead = static_cast<int64_t>(other.spec.tokens.size()) - other.computed;
    if (other.spec.domain != entry.spec.domain || ahead <= 1) continue;
    const auto differ = std::mismatch(tokens.begin(), tokens.end(), other.spec.tokens.begin(),
                                      other.spec.tokens.end());
    const int64_t common = std::min(differ.first - tokens.begin(), other.spec.shared_max);
    // Worth a wait from a block on: less is computed with the rest.
    if (common < cache_.block_rows()) continue;
    if (found < 0) found = cache_.Find(entry.spec.domain, tokens);
    if (common >= found + cache_.block_rows()) return true;
  }
  return false;
}

void Scheduler::Start(Id id) {
  Entry& entry = at(id);
  entry.computed =
      cache_.Attach(entry.spec.domain, Findable(entry.spec), entry.spec.eviction, entry.rows);
  statistics_.found_tokens += entry.computed;
  Erase(waiting_, id);
  entry.state = State::kRunning;
  Insert(running_, id);
}

void Scheduler::Preempt(Id id) {
  Entry& entry = at(id);
  CHECK(entry.state == State::kRunning && !entry.in_step);
  Publish(entry);
  cache_.Release(entry.rows);
  entry.computed_before = std::max(entry.computed_before, entry.computed);
  entry.computed = 0;
  entry.state = State::kWaiting;
  entry.preempted_in = forms_;
  Erase(running_, id);
  Insert(waiting_, id);
  ++statistics_.preemptions;
}

bool Scheduler::MakeRoom(Id id, int64_t to, Plan& plan) {
  while (!cache_.Extend(at(id).rows, to, plan.rows.copies)) {
    Id victim = kNone;
    for (const Id other : running_) {
      if (!at(other).in_step) victim = other;
    }
    if (victim == kNone) return false;
    Preempt(victim);
    if (victim == id) return false;
  }
  return true;
}

bool Scheduler::AddMember(Id id, int64_t rows_max, Plan& plan) {
  Entry& entry = at(id);
  const auto size = static_cast<int64_t>(entry.spec.tokens.size());
  if (entry.in_step || entry.computed == size) return true;
  const int64_t to = std::min(size, entry.computed + rows_max);
  if (!MakeRoom(id, to, plan)) return false;
  entry.in_step = true;
  Member member{id, entry.computed, to};
  member.outputs = std::max<int64_t>(0, to - std::max(entry.computed, entry.spec.outputs_from));
  member.whole = to == size;
  plan.rows.Add(entry.rows, entry.spec.tokens, entry.computed, to);
  member.first_output = plan.rows.Want(entry.spec.output, member.outputs);
  plan.load.Add(to - member.from, member.from, false);
  plan.load.logits += entry.spec.output == RowOutput::kLogits ? member.outputs : 0;
  plan.members.push_back(member);
  return true;
}

void Scheduler::Complete(const Plan& plan) {
  for (const Member& member : plan.members) {
    Entry& entry = at(member.id);
    entry.in_step = false;
    const int64_t rows = cache_.block_rows();
    const bool full_block = member.to / rows > entry.computed / rows;
    const int64_t shared_max = entry.spec.shared_max;
    const bool all_shared = entry.computed < shared_max && member.to >= shared_max;
    statistics_.computed_tokens += member.to - member.from;
    statistics_.recomputed_tokens +=
        std::max<int64_t>(0, std::min(member.to, entry.computed_before) - member.from);
    entry.computed = member.to;
    entry.spec.outputs_from = std::max(entry.spec.outputs_from, member.to);
    if (entry.removed) {
      Free(member.id);
    } else if (full_block || all_shared || member.whole) {
      Publish(entry);
    }
  }
}

void Scheduler::Abandon(const Plan& plan) {
  for (const Member& member : plan.members) {
    Entry& entry = at(member.id);
    entry.in_step = false;
    // Copies of shared blocks may not have been carried out: what is not published is lost.
    entry.computed_before = std::max(entry.computed_before, entry.computed);
    entry.computed = entry.rows.published;
    if (entry.removed) {
      Free(member.id);
    } else {
      Preempt(member.id);
    }
  }
}

void Scheduler::Append(Id id, int32_t token) {
  Entry& entry = at(id);
  CHECK(!entry.in_step && entry.computed == static_cast<int64_t>(entry.spec.tokens.size()));
  entry.spec.tokens.push_back(token);
}

int64_t Scheduler::RowsToGo(int64_t most) const {
  int64_t rows = 0;
  for (const std::vector<Id>* list : {&running_, &waiting_}) {
    for (const Id id : *list) {
      const Entry& entry = at(id);
      if (entry.in_step) continue;
      rows += static_cast<int64_t>(entry.spec.tokens.size()) - entry.computed;
      if (rows >= most) return most;
    }
  }
  return rows;
}

void Scheduler::Publish(Entry& entry) {
  const int64_t end = std::min(entry.computed, entry.spec.shared_max);
  if (end <= entry.rows.published) return;
  cache_.Publish(entry.rows, std::span(entry.spec.tokens).first(static_cast<size_t>(end)),
                 entry.spec.eviction);
}

void Scheduler::CheckIntegrity() const {
  std::vector<const kv::Sequence*> sequences;
  size_t running = 0, waiting = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = *entries_[i];
    const auto id = static_cast<Id>(i);
    if (entry.state == State::kRunning) {
      ++running;
      sequences.push_back(&entry.rows);
      CHECK(std::count(running_.begin(), running_.end(), id) == 1);
      CHECK(entry.computed <= static_cast<int64_t>(entry.spec.tokens.size()));
      CHECK(entry.in_step || entry.computed <= entry.rows.length);
      CHECK(entry.rows.published <= entry.computed);
    } else {
      CHECK(entry.rows.blocks.empty() && entry.rows.node < 0);
      CHECK(!entry.in_step);
    }
    if (entry.state == State::kWaiting) {
      ++waiting;
      CHECK(std::count(waiting_.begin(), waiting_.end(), id) == 1);
    }
  }
  CHECK_EQ(running, running_.size());
  CHECK_EQ(waiting, waiting_.size());
  CHECK(this->running() <= options_.running_max);
  cache_.CheckIntegrity(sequences);
}

}  // namespace sluice::lm

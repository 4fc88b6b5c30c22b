#include "engine/micro_batcher.h"

#include <algorithm>

#include "base/check.h"

namespace sluice::engine {

MicroBatcher::MicroBatcher(Options options, CostModel& costs)
    : options_(std::move(options)), costs_(costs) {
  CHECK(options_.priority_levels >= 1 && options_.priority_levels <= kLevelsMax);
  CHECK(options_.priority_default >= 1 && options_.priority_default <= options_.priority_levels);
  const auto levels = static_cast<size_t>(options_.priority_levels);
  level_counts_.resize(levels);
}

// Deadlines first; equal ones (and all of untimed work) in the order of arrival.
bool MicroBatcher::Before(int32_t a, int32_t b) const {
  const Node& left = nodes_[static_cast<size_t>(a)];
  const Node& right = nodes_[static_cast<size_t>(b)];
  if (left.deadline != right.deadline) return left.deadline < right.deadline;
  return left.sequence < right.sequence;
}

// --- Admission.

Admission MicroBatcher::Add(std::unique_ptr<Request>& request, uint64_t shape,
                            const Outlook& outlook) {
  const int asked = request->call->priority();
  const int level =
      std::clamp(asked > 0 ? asked : options_.priority_default, 1, options_.priority_levels) - 1;
  const auto at_level = static_cast<size_t>(level);
  if (waiting_ >= options_.requests_max || request->bytes > options_.bytes_max - bytes_) {
    return Admission::kQueueFull;
  }
  if (at_level < options_.level_requests_max.size() && options_.level_requests_max[at_level] > 0 &&
      level_counts_[at_level] >= options_.level_requests_max[at_level]) {
    return Admission::kQueueFull;
  }
  const int64_t counted = request->units > 0 ? request->units : request->rows;
  const int64_t units = options_.rows_max > 0 ? counted : 1;
  bool probe = false;
  if (!CanMeet(*request, shape, units, level, outlook)) {
    if (!costs_.TakeProbe(outlook.now)) return Admission::kTooLate;
    probe = true;
  }
  const int32_t at_group = GroupOf(shape);
  if (at_group < 0) return Admission::kQueueFull;

  int32_t index = static_cast<int32_t>(nodes_.size());
  if (free_nodes_.empty()) {
    nodes_.emplace_back();
    free_nodes_.reserve(nodes_.capacity());  // so that giving a node back never allocates
  } else {
    index = free_nodes_.back();
    free_nodes_.pop_back();
  }
  Node& node = nodes_[static_cast<size_t>(index)];
  node.deadline = request->call->deadline();
  node.sequence = sequence_++;
  node.units = units;
  node.group = at_group;
  node.level = level;
  node.probe = probe;
  node.request = std::move(request);
  Count(node, at_group, outlook);

  Group& group = groups_[static_cast<size_t>(at_group)];
  const base::Time enqueued = node.request->enqueued;
  group.oldest = group.count == 0 ? enqueued : std::min(group.oldest, enqueued);
  group.units += units;
  ++group.count;
  ++group.counts[Index(node.work())];
  if (group.live_at < 0) {
    group.live_at = static_cast<int32_t>(live_.size());
    live_.push_back(at_group);
  }
  ++waiting_;
  ++level_counts_[at_level];
  bytes_ += node.request->bytes;
  int32_t& root = Root(at_group, node.work(), level);
  root = Heap::Push(*this, root, index);
  Consider(at_group, WorkClass::kTimed, outlook.now);
  Consider(at_group, WorkClass::kUntimed, outlook.now);
  return Admission::kQueued;
}

// Whether the request can be done by its deadline behind what certainly goes before it. Errs on the
// side of taking it: what it overlooks is dropped later, before it costs anything.
bool MicroBatcher::CanMeet(const Request& request, uint64_t shape, int64_t units, int level,
                           const Outlook& outlook) const {
  const base::Time deadline = request.call->deadline();
  if (deadline.never()) return true;
  if (options_.rows_max == 0) {
    const Cost own = costs_.Predict(shape, request.rows);
    if (!own.measured) return true;
    const base::Time latest_start = deadline - own.predicted;
    const base::Duration ahead = WorkAhead(own.predicted, latest_start, level, outlook);
    return outlook.start_of(own.predicted) + ahead <= latest_start;
  }
  // What is due before it here fills steps that it joins or that go before its own.
  int64_t before = 0;
  for (int above = 0; above <= level; ++above) {
    before += by_deadline_.Before(above, deadline, outlook.now).units;
  }
  const int64_t full_steps = (before + units - 1) / options_.rows_max;
  const int64_t own_units = before + units - full_steps * options_.rows_max;
  const Cost own = costs_.Predict(shape, std::max(own_units, int64_t{1}));
  if (!own.measured) return true;
  base::Duration work = own.predicted;
  if (full_steps > 0) {
    const Cost full = costs_.Predict(shape, options_.rows_max);
    if (!full.measured) return true;
    work = work + full.predicted * full_steps;
  }
  // Of other engines, what goes before the step that it may join.
  base::Time latest_start = deadline;
  if (const auto found = group_of_.find(shape); found != group_of_.end()) {
    latest_start = std::min(latest_start, Tightest(found->second));
    if (const int32_t lead = Lead(found->second, WorkClass::kTimed); lead >= 0) {
      level = std::min(level, nodes_[static_cast<size_t>(lead)].level);
    }
  }
  work = work + WorkAhead(own.predicted, latest_start - work, level, outlook);
  return outlook.start_of(own.predicted) + work <= deadline;
}

// Time of what goes before a step of this latest start: of the whole loop where rows are not
// joined, else of other engines.
base::Duration MicroBatcher::WorkAhead(base::Duration own, base::Time latest_start, int level,
                                       const Outlook& outlook) const {
  const bool joins = options_.rows_max > 0;
  const bool here_only = outlook.backlog == nullptr;
  if (here_only && joins) return {};
  const Backlog& all = here_only ? by_start_ : *outlook.backlog;
  const Backlog* const less = joins && loop_backlog_ != nullptr ? &by_start_ : nullptr;
  Backlog::Sum sum = all.Before(level, latest_start, outlook.now, less);
  for (int above = 0; above < level; ++above) {
    sum += all.All(above);
    if (less != nullptr) sum = sum - less->All(above);
  }
  // Longer work gives way to a brief step at its safepoints.
  return own <= outlook.brief ? sum.brief : sum.brief + sum.lengthy;
}

// Counts the request as work that waits: what it adds to the steps of its group, so that the
// members of a group come to what their steps will take.
void MicroBatcher::Count(Node& node, int32_t at_group, const Outlook& outlook) {
  const Group& group = groups_[static_cast<size_t>(at_group)];
  Backlog::Work& work = node.work_counted;
  work = {node.units, {}, false};
  base::Duration step;
  if (options_.rows_max == 0) {
    const Cost own = costs_.Predict(group.shape, node.request->rows);
    step = own.predicted;
    if (own.measured) work.time = own.predicted;
  } else {
    const auto total = [&](int64_t units) {
      const int64_t full = units / options_.rows_max;
      const int64_t rest = units % options_.rows_max;
      Cost cost;
      cost.measured = true;
      if (full > 0) {
        cost = costs_.Predict(group.shape, options_.rows_max);
        cost.predicted = cost.predicted * full;
      }
      if (rest > 0) {
        const Cost last = costs_.Predict(group.shape, rest);
        cost.predicted = cost.predicted + last.predicted;
        cost.measured = cost.measured && last.measured;
      }
      return cost;
    };
    const Cost before = total(group.units);
    const Cost after = total(group.units + node.units);
    step = after.predicted;
    if (before.measured && after.measured) {
      work.time = std::max(after.predicted - before.predicted, base::Duration{});
    }
  }
  work.brief = step <= outlook.brief;
  if (node.work() == WorkClass::kUntimed) return;
  node.deadline_slice = by_deadline_.Add(node.level, node.deadline, outlook.now, work);
  const int64_t counted = options_.rows_max > 0 ? node.units : node.request->rows;
  const base::Time start = node.deadline - costs_.Predict(group.shape, counted).predicted;
  work.tight = outlook.IsTight(step, start);
  node.start_slice = by_start_.Add(node.level, start, outlook.now, work);
  // What may wait for company does not certainly go first.
  if (options_.rows_max > 0 && options_.queue_delay_max.ns > 0) return;
  if (outlook.backlog == nullptr) return;
  loop_backlog_ = outlook.backlog;
  const int slice = loop_backlog_->Add(node.level, start, outlook.now, work);
  CHECK_EQ(slice, node.start_slice);
}

// The group of a shape, made when there is none; -1 when kShapesMax different ones wait.
int32_t MicroBatcher::GroupOf(uint64_t shape) {
  if (const auto found = group_of_.find(shape); found != group_of_.end()) return found->second;
  auto index = static_cast<int32_t>(groups_.size());
  if (groups_.size() < static_cast<size_t>(kShapesMax)) {
    groups_.emplace_back();
    roots_.resize(roots_.size() + 2 * static_cast<size_t>(options_.priority_levels), -1);
    live_.reserve(groups_.capacity());
  } else {
    const auto empty = std::find_if(groups_.begin(), groups_.end(),
                                    [](const Group& group) { return group.count == 0; });
    if (empty == groups_.end()) return -1;
    index = static_cast<int32_t>(empty - groups_.begin());
    group_of_.erase(empty->shape);
  }
  groups_[static_cast<size_t>(index)] = {};
  groups_[static_cast<size_t>(index)].shape = shape;
  group_of_.emplace(shape, index);
  return index;
}

bool MicroBatcher::Holds(uint64_t shape) const {
  const auto found = group_of_.find(shape);
  return found != group_of_.end() && groups_[static_cast<size_t>(found->second)].count > 0;
}

// --- Offers.

// The most urgent request of the class in the group; -1: none.
int32_t MicroBatcher::Lead(int32_t group, WorkClass work) const {
  for (int level = 0; level < options_.priority_levels; ++level) {
    if (const int32_t root = Root(group, work, level); root >= 0) return root;
  }
  return -1;
}

base::Time MicroBatcher::Tightest(int32_t group) const {
  base::Time tightest = base::Time::Never();
  for (int level = 0; level < options_.priority_levels; ++level) {
    const int32_t root = Root(group, WorkClass::kTimed, level);
    if (root >= 0) tightest = std::min(tightest, nodes_[static_cast<size_t>(root)].deadline);
  }
  return tightest;
}

void MicroBatcher::MakeOffer(int32_t at_group, WorkClass work, Offer& offer) const {
  const Group& group = groups_[static_cast<size_t>(at_group)];
  const Node& lead = nodes_[static_cast<size_t>(Lead(at_group, work))];
  const bool joins = options_.rows_max > 0;
  const int64_t rows =
      joins ? std::max(std::min(group.units, options_.rows_max), lead.units) : lead.request->rows;
  offer.work = work;
  offer.priority = lead.level + 1;
  offer.cost = costs_.Predict(group.shape, rows);
  const base::Time must_start = Tightest(at_group) - offer.cost.predicted;
  offer.latest_start = work == WorkClass::kTimed ? must_start : base::Time::Never();
  offer.wait_until = {};
  if (joins && rows < options_.rows_max && options_.queue_delay_max.ns > 0) {
    offer.wait_until = std::min(group.oldest + options_.queue_delay_max, must_start - kStartMargin);
  }
}

// Whether offer a (led by node a_lead) goes before offer b of the same class.
bool MicroBatcher::Ranks(const Offer& a, int32_t a_lead, const Offer& b, int32_t b_lead) const {
  if (a.priority != b.priority) return a.priority < b.priority;
  if (a.latest_start != b.latest_start) return a.latest_start < b.latest_start;
  return nodes_[static_cast<size_t>(a_lead)].sequence <
         nodes_[static_cast<size_t>(b_lead)].sequence;
}

// The group has gained a request: is it the best one now?
void MicroBatcher::Consider(int32_t group, WorkClass work, base::Time now) {
  const size_t at = Index(work);
  if (dirty_[at] || groups_[static_cast<size_t>(group)].counts[at] == 0) return;
  if (best_[at] == group && live_.size() > 1) {
    // It may have gained a later latest start with its row, and another group be more urgent now.
    dirty_[at] = true;
    return;
  }
  Offer offer;
  MakeOffer(group, work, offer);
  const bool ready = offer.wait_until <= now;
  if (!ready) rescan_at_[at] = std::min(rescan_at_[at], offer.wait_until);
  if (best_[at] >= 0 && best_[at] != group) {
    const bool best_ready = offers_[at].wait_until <= now;
    if (best_ready && !ready) return;
    if (best_ready && !Ranks(offer, Lead(group, work), offers_[at], Lead(best_[at], work))) return;
    if (!best_ready && !ready && offers_[at].wait_until <= offer.wait_until) return;
  }
  best_[at] = group;
  offers_[at] = offer;
}

void MicroBatcher::Rescan(WorkClass work, base::Time now) {
  const size_t at = Index(work);
  dirty_[at] = false;
  best_[at] = -1;
  rescan_at_[at] = base::Time::Never();
  for (const int32_t group : live_) Consider(group, work, now);
}

const Offer* MicroBatcher::BestOffer(base::Time now, WorkClass work) {
  const size_t at = Index(work);
  if (dirty_[at] || now >= rescan_at_[at]) Rescan(work, now);
  return best_[at] < 0 ? nullptr : &offers_[at];
}

// --- Steps.

std::unique_ptr<Request> MicroBatcher::Unlink(int32_t index) {
  Node& node = nodes_[static_cast<size_t>(index)];
  int32_t& root = Root(node.group, node.work(), node.level);
  root = Heap::Remove(*this, root, index);
  const auto level = static_cast<size_t>(node.level);
  if (node.work() == WorkClass::kTimed) {
    by_deadline_.Remove(node.level, node.deadline_slice, node.work_counted);
    by_start_.Remove(node.level, node.start_slice, node.work_counted);
    if (loop_backlog_ != nullptr) {
      loop_backlog_->Remove(node.level, node.start_slice, node.work_counted);
    }
  }
  Group& group = groups_[static_cast<size_t>(node.group)];
  group.units -= node.units;
  --group.count;
  --group.counts[Index(node.work())];
  if (group.count == 0) {
    groups_[static_cast<size_t>(live_.back())].live_at = group.live_at;
    live_[static_cast<size_t>(group.live_at)] = live_.back();
    live_.pop_back();
    group.live_at = -1;
  }
  --waiting_;
  --level_counts_[level];
  bytes_ -= node.request->bytes;
  dirty_ = {true, true};
  free_nodes_.push_back(index);
  return std::move(node.request);
}

// What becomes of the next candidate, when `units` (its own included) would be in the step and
// `tightest` is the earliest deadline of the members so far.
MicroBatcher::Fit MicroBatcher::TryFit(const Node& node, uint64_t shape, bool alone, int64_t units,
                                       base::Time tightest, base::Time now) {
  if (node.request->call->cancelled()) return Fit::kDropCancelled;
  if (node.deadline <= now) return Fit::kDropLate;
  if (node.probe && alone) return Fit::kJoins;
  const int64_t rows = options_.rows_max > 0 ? node.units : node.request->rows;
  const Cost own = costs_.Predict(shape, rows);
  if (own.measured && now + own.predicted > node.deadline) {
    if (node.probe) return Fit::kStop;  // it runs alone, so that it measures what it should
    return alone && costs_.TakeProbe(now) ? Fit::kJoins : Fit::kDropLate;
  }
  if (alone) return Fit::kJoins;
  if (options_.rows_max == 0 || units > options_.rows_max) return Fit::kStop;
  const Cost joined = costs_.Predict(shape, units);
  const bool late = now + joined.predicted > std::min(tightest, node.deadline);
  return late && joined.measured ? Fit::kStop : Fit::kJoins;
}

bool MicroBatcher::Take(const Offer& offer, Step& step,
                        std::vector<std::unique_ptr<Request>>& members, Replies& replies) {
  const size_t at = Index(offer.work);
  const int32_t group = best_[at];
  CHECK(group >= 0 && !dirty_[at] && members.empty());
  const uint64_t shape = groups_[static_cast<size_t>(group)].shape;
  const WorkClass other = offer.work == WorkClass::kTimed ? WorkClass::kUntimed : WorkClass::kTimed;
  int64_t units = 0;
  int64_t rows = 0;
  base::Time tightest = base::Time::Never();
  bool full = false;
  for (const WorkClass work : {offer.work, other}) {
    while (!full) {
      const int32_t lead = Lead(group, work);
      if (lead < 0) break;
      const Node& node = nodes_[static_cast<size_t>(lead)];
      switch (TryFit(node, shape, members.empty(), units + node.units, tightest, step.formed)) {
        case Fit::kStop:
          full = true;
          break;
        case Fit::kDropCancelled:
          replies.Refuse(Unlink(lead), reason::kCancelled);
          break;
        case Fit::kDropLate:
          replies.Refuse(Unlink(lead), reason::kDeadlineQueue);
          break;
        case Fit::kJoins:
          units += node.units;
          rows += node.request->rows;
          if (!node.probe) tightest = std::min(tightest, node.deadline);
          step.probe |= node.probe;
          members.push_back(Unlink(lead));
          break;
      }
    }
    // What the offer promised has been dropped: the other class waits for its own turn.
    if (members.empty()) break;
  }
  taken_shape_ = shape;
  if (members.empty()) return false;
  taken_units_ = options_.rows_max > 0 ? units : rows;
  const Cost cost = costs_.Predict(shape, taken_units_);
  step.rows = rows;
  step.predicted = cost.predicted;
  step.probe |= !cost.measured;
  return true;
}

// Answers the expired, who are at the tops of their heaps, and the cancelled among the next
// kSweepMax requests.
void MicroBatcher::Sweep(base::Time now, Replies& replies) {
  if (waiting_ == 0) return;
  for (size_t i = live_.size(); i-- > 0;) {
    const int32_t group = live_[i];
    for (int level = 0; level < options_.priority_levels; ++level) {
      for (int32_t top = Root(group, WorkClass::kTimed, level);
           top >= 0 && nodes_[static_cast<size_t>(top)].deadline <= now;
           top = Root(group, WorkClass::kTimed, level)) {
        replies.Refuse(Unlink(top), reason::kDeadlineQueue);
      }
    }
  }
  const auto count = std::min(static_cast<int64_t>(nodes_.size()), kSweepMax);
  for (int64_t i = 0; i < count; ++i) {
    sweep_at_ = (sweep_at_ + 1) % nodes_.size();
    const Node& node = nodes_[sweep_at_];
    if (node.request == nullptr || !node.request->call->cancelled()) continue;
    replies.Refuse(Unlink(static_cast<int32_t>(sweep_at_)), reason::kCancelled);
  }
}

void MicroBatcher::CheckIntegrity() const {
  int64_t count = 0;
  int64_t units = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (node.request == nullptr) continue;
    ++count;
    if (node.work() == WorkClass::kTimed) units += node.units;
    bytes += node.request->bytes;
    const int32_t lead = Root(node.group, node.work(), node.level);
    CHECK(lead >= 0 && !Before(static_cast<int32_t>(i), lead)) << "the heap's top is not first";
  }
  CHECK_EQ(count, waiting_);
  CHECK_EQ(bytes, bytes_);
  CHECK_EQ(units, by_deadline_.All().units);
  CHECK_EQ(units, by_start_.All().units);
  CHECK_EQ(count + static_cast<int64_t>(free_nodes_.size()), static_cast<int64_t>(nodes_.size()));
  CHECK_LE(waiting_, options_.requests_max);
  CHECK_LE(bytes_, options_.bytes_max);
  int64_t grouped = 0;
  for (const int32_t group : live_) grouped += groups_[static_cast<size_t>(group)].count;
  CHECK_EQ(grouped, waiting_);
}

}  // namespace sluice::engine

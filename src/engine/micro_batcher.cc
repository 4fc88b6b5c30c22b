#include "engine/micro_batcher.h"

#include <algorithm>

#include "base/check.h"

namespace sluice::engine {

MicroBatcher::MicroBatcher(Options options, CostModel& costs)
    : options_(std::move(options)), costs_(costs) {
  CHECK(options_.priority_levels >= 1 && options_.priority_levels <= kLevelsMax);
  CHECK(options_.priority_default >= 1 && options_.priority_default <= options_.priority_levels);
  const auto levels = static_cast<size_t>(options_.priority_levels);
  ahead_.resize(levels * (kBeyond + 1));
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
  const int64_t units = options_.rows_max > 0 ? request->rows : 1;
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
  node.slice = SliceOf(node.deadline, outlook.now);
  ahead_[at_level * (kBeyond + 1) + static_cast<size_t>(node.slice)] += units;

  Group& group = groups_[static_cast<size_t>(at_group)];
  group.oldest = group.count == 0 ? request->enqueued : std::min(group.oldest, request->enqueued);
  group.units += units;
  ++group.count;
  ++group.counts[Index(node.work())];
  if (group.live_at < 0) {
    group.live_at = static_cast<int32_t>(live_.size());
    live_.push_back(at_group);
  }
  ++waiting_;
  ++level_counts_[at_level];
  bytes_ += request->bytes;
  node.request = std::move(request);
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
  const int64_t rows_max = std::max<int64_t>(options_.rows_max, 1);
  const int64_t before = UnitsAhead(deadline, level, outlook.now);
  const bool joins = options_.rows_max > 0;
  const int64_t full_steps = joins ? (before + units - 1) / rows_max : before;
  const int64_t own_units = joins ? before + units - full_steps * rows_max : request.rows;
  const Cost own = costs_.Predict(shape, std::max(own_units, int64_t{1}));
  if (!own.measured) return true;
  base::Duration work = own.predicted;
  if (full_steps > 0) {
    const Cost full = costs_.Predict(shape, joins ? rows_max : request.rows);
    if (!full.measured) return true;
    work = work + full.predicted * full_steps;
  }
  return outlook.start_of(own.predicted) + work <= deadline;
}

int MicroBatcher::SliceOf(base::Time deadline, base::Time now) {
  for (int ring = 0; ring < kRings; ++ring) {
    const int64_t slice = deadline.ns >> SliceShift(ring);
    if (slice - (now.ns >> SliceShift(ring)) < kSlices) {
      return ring * kSlices + static_cast<int>(slice % kSlices);
    }
  }
  return kBeyond;
}

// Units of the same or a higher priority whose deadlines lie in an earlier slice of time.
int64_t MicroBatcher::UnitsAhead(base::Time deadline, int level, base::Time now) const {
  int64_t units = 0;
  for (int above = 0; above <= level; ++above) {
    const int64_t* counts = &ahead_[static_cast<size_t>(above) * (kBeyond + 1)];
    for (int ring = 0; ring < kRings; ++ring, counts += kSlices) {
      const int64_t first = now.ns >> SliceShift(ring);
      const int64_t slices = std::min<int64_t>((deadline.ns >> SliceShift(ring)) - first, kSlices);
      for (int64_t i = 0; i < slices; ++i) units += counts[(first + i) % kSlices];
    }
  }
  return units;
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
  ahead_[level * (kBeyond + 1) + static_cast<size_t>(node.slice)] -= node.units;
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
          members.push_back(Unlink(lead));
          break;
      }
    }
    // What the offer promised has been dropped: the other class waits for its own turn.
    if (members.empty()) break;
  }
  taken_shape_ = shape;
  if (members.empty()) return false;
  step.rows = rows;
  step.predicted = costs_.Predict(shape, rows).predicted;
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
  int64_t ahead = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (node.request == nullptr) continue;
    ++count;
    units += node.units;
    bytes += node.request->bytes;
    const int32_t lead = Root(node.group, node.work(), node.level);
    CHECK(lead >= 0 && !Before(static_cast<int32_t>(i), lead)) << "the heap's top is not first";
  }
  for (const int64_t slice : ahead_) ahead += slice;
  CHECK_EQ(count, waiting_);
  CHECK_EQ(bytes, bytes_);
  CHECK_EQ(units, ahead);
  CHECK_EQ(count + static_cast<int64_t>(free_nodes_.size()), static_cast<int64_t>(nodes_.size()));
  CHECK_LE(waiting_, options_.requests_max);
  CHECK_LE(bytes_, options_.bytes_max);
  int64_t grouped = 0;
  for (const int32_t group : live_) grouped += groups_[static_cast<size_t>(group)].count;
  CHECK_EQ(grouped, waiting_);
}

}  // namespace sluice::engine

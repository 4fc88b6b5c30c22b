// What LmEngine knows of time: what steps cost, who can be in time, when tokens came.
#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "engine/backlog.h"
#include "lm/lm_engine.h"
#include "lm/lm_step.h"

namespace sluice::lm {
namespace {

// Of a prior: one lane's f32 products and reading memory. Measured steps correct it.
constexpr double kFlopsPerNs = 40;
constexpr double kBytesPerNs = 8;
constexpr double kShareStep = 0.05;  // how fast means of answers and steps follow
constexpr double kStretchMax = 16;

int64_t IntegerOf(const engine::Reply& reply, const char* name) {
  for (const auto& [key, value] : reply.parameters) {
    if (key == name && std::holds_alternative<int64_t>(value)) return std::get<int64_t>(value);
  }
  return 0;
}

}  // namespace

StepCost::Prior LmEngine::PriorOf(const LanguageModel& model) {
  const DecoderConfig& config = model.decoder.config();
  const auto head = static_cast<double>(config.vocabulary * config.hidden);
  const auto body = static_cast<double>(model.decoder.parameters()) - head;
  StepCost::Prior prior;
  prior.step = static_cast<double>(model.decoder.product_bytes()) / kBytesPerNs;
  prior.row = 2 * std::max(body, 1.0) / kFlopsPerNs;
  prior.logit = 2 * head / kFlopsPerNs;
  prior.pair =
      static_cast<double>(4 * config.heads * config.head_dim * config.layers) / kFlopsPerNs;
  return prior;
}

int64_t LmEngine::ExpectedSteps(const Asked& asked) const {
  const int64_t most = asked.serial_steps();
  if (!asked.may_end_early()) return most;
  return static_cast<int64_t>(static_cast<double>(most) * said_share_);
}

bool LmEngine::IsTimed(const Group& group) {
  const engine::Call& call = group.call();
  return !call.deadline().never() || call.ttft() < base::Duration::Max() ||
         call.tpot() < base::Duration::Max();
}

void LmEngine::CollectErrands(bool timed_only) {
  errands_.clear();
  for (const std::unique_ptr<Group>& group : groups_) {
    const Group::Place& place = group->place();
    const Asked& asked = group->asked();
    Errand errand;
    errand.priority = place.frame.priority;
    errand.urgent = place.frame.deadline;
    errand.deadline = group->call().deadline();
    for (const Group::Branch& branch : place.branches) {
      const auto size = static_cast<int64_t>(scheduler_.tokens(branch.id).size());
      errand.running = scheduler_.is_running(branch.id);
      if (timed_only && !errand.running && place.frame.deadline.never()) continue;
      errand.context = scheduler_.computed(branch.id);
      errand.rows = std::max<int64_t>(1, size - errand.context);
      const int64_t said = size - static_cast<int64_t>(asked.prompt.size());
      errand.further = std::max<int64_t>(0, ExpectedSteps(asked) - std::max<int64_t>(0, said));
      errands_.push_back(errand);
    }
    if (group->feeds() && asked.serial_steps() == 0) {
      // Items that the scheduler does not have yet: about half of them all, in the mean.
      errand.running = false;
      errand.rows = std::max<int64_t>(1, asked.row_count() / 2);
      errand.further = 0;
      errands_.push_back(errand);
    }
  }
}

bool LmEngine::IsTooLate(const Asked& asked, const SequenceSpec& frame, int64_t found,
                         const engine::Outlook& outlook) {
  if (frame.deadline.never()) return false;
  Errand own;
  own.rows = std::max<int64_t>(1, asked.row_count() - found);
  own.further = ExpectedSteps(asked);
  own.context = found;
  own.priority = frame.priority;
  own.urgent = own.deadline = frame.deadline;
  // Steps as they would be with it: beside those that run.
  StepLoad prompt, token;
  token.rows = token.logits = scheduler_.running() + 1;
  prompt = token;
  prompt.rows = std::min(own.rows + scheduler_.running(), model_->options.step_rows_max);
  if (!costs_.High(prompt).measured) return false;
  if (own.further > 0 && !costs_.High(token).measured) return false;
  base::Time start = outlook.device_free;
  if (outlook.backlog != nullptr) {
    // Of other engines, what certainly goes before its end.
    for (int level = 0; level < frame.priority; ++level) {
      const engine::Backlog::Sum sum = outlook.backlog->Before(level, frame.deadline, outlook.now);
      start = start + sum.brief + sum.lengthy;
    }
  }
  CollectErrands(true);
  Forecast::Options options;
  options.rows_max = model_->options.step_rows_max;
  options.rows_beside_speech = StepLimits::kRowsBesideSpeech;
  options.running_max = model_->options.running_max;
  options.stretch = stretch_;
  played_ = errands_;
  played_.push_back(own);
  forecast_.Play(options, costs_, start, played_);
  if (played_.back().finished > own.deadline) return true;
  // Who is late with it might be late without it.
  const auto is_late = [&](const Errand& errand) {
    return errand.priority <= own.priority && errand.finished > errand.deadline;
  };
  if (std::none_of(played_.begin(), played_.end(), is_late)) return false;
  forecast_.Play(options, costs_, start, errands_);
  for (size_t i = 0; i < errands_.size(); ++i) {
    if (is_late(played_[i]) && !is_late(errands_[i])) return true;
  }
  return false;
}

StepLimits LmEngine::LimitsAt(base::Time now) const {
  StepLimits limits;
  limits.rows_max = model_->options.step_rows_max;
  limits.cost = &costs_;
  limits.now = now;
  // Steps of other engines that are longer than what is left of this one wait for its end: those
  // with less time to spare than they take may be late then.
  if (backlog_ != nullptr) {
    const base::Duration patience = backlog_->patience(now);
    if (patience < base::Duration::Max()) limits.time_max = {patience.ns / 4 * 3};
  }
  return limits;
}

void LmEngine::NoteToken(Owner& owner, Scheduler::Id id, base::Time now, bool goes_on) {
  Group& group = *owner.group;
  const Asked& asked = group.asked();
  if (asked.task != Asked::Task::kGenerate) return;
  Group::Place& place = group.place();
  if (place.first_token == base::Time{}) {
    place.first_token = now;
    measures_.CountFirstToken(now - place.arrived);
  } else {
    measures_.CountNextToken(now - (owner.heard == base::Time{} ? place.first_token : owner.heard));
  }
  owner.heard = now;
  if (!goes_on) return;
  base::Time due = base::Time::Never();
  if (group.call().tpot() < base::Duration::Max()) due = now + group.call().tpot();
  const base::Time deadline = group.call().deadline();
  if (!deadline.never()) {
    // An even pace until the deadline, where steps can keep it at all.
    const auto size = static_cast<int64_t>(scheduler_.tokens(id).size());
    const int64_t said = size - static_cast<int64_t>(asked.prompt.size());
    const int64_t left = std::max<int64_t>(1, asked.serial_steps() - said);
    const base::Duration pace = {std::max<int64_t>(0, (deadline - now).ns / left)};
    StepLoad least;
    least.rows = least.logits = std::max<int64_t>(1, scheduler_.running());
    if (pace >= costs_.High(least).predicted) due = std::min(due, now + pace);
  }
  scheduler_.SetDue(id, due);
  place.frame.due = due;
}

void LmEngine::NoteAnswer(const Group& group, const engine::Reply& reply, base::Time now) {
  const Asked& asked = group.asked();
  if (asked.task != Asked::Task::kGenerate) return;
  const int64_t said = IntegerOf(reply, "completion_tokens");
  std::string why = reply.status.ok() ? "length" : "error";
  for (const auto& [key, value] : reply.parameters) {
    if (key == "finish_reason") why = std::get<std::string>(value);
  }
  measures_.CountAnswer(why.c_str(), static_cast<int64_t>(asked.prompt.size()), said,
                        now - group.place().arrived);
  if (asked.may_end_early() && reply.status.ok()) {
    const double share = static_cast<double>(said) / static_cast<double>(asked.serial_steps() + 1);
    said_share_ += kShareStep * (std::min(share, 1.0) - said_share_);
  }
}

void LmEngine::NoteStep(const LmStep& step, engine::StepStatus status) {
  const base::Duration computed = step.computed();
  if (status == engine::StepStatus::kDone) {
    costs_.Record(step.plan.load, computed);
    measures_.CountStep(step.rows);
    if (!busy_since_.never() && computed.ns > 0) {
      const double ratio =
          static_cast<double>((step.finished - busy_since_).ns) / static_cast<double>(computed.ns);
      stretch_ += kShareStep * (std::clamp(ratio, 1.0, kStretchMax) - stretch_);
    }
  } else {
    costs_.RecordAtLeast(step.plan.load, computed);
  }
  busy_since_ = pending() > 0 ? step.finished : base::Time::Never();
  measures_.Follow(scheduler_);
}

}  // namespace sluice::lm

#include "lm/schedule/forecast.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace sluice::lm {

bool Forecast::IsMoreUrgent(const std::vector<Errand>& errands, size_t a, size_t b) {
  return std::tie(errands[a].priority, errands[a].urgent, a) <
         std::tie(errands[b].priority, errands[b].urgent, b);
}

void Forecast::FormStep(const Options& options, const StepCost& cost,
                        const std::vector<Errand>& errands) {
  parts_.clear();
  load_ = {};
  for (const size_t i : running_) {
    if (errands[i].rows > 1 || load_.rows >= options.rows_max) continue;
    load_.Add(1, errands[i].context, true);
    parts_.push_back({i, 1});
  }
  int64_t free = options.running_max - static_cast<int64_t>(running_.size());
  const int64_t rows_max =
      parts_.empty() ? options.rows_max : std::min(options.rows_max, options.rows_beside_speech);
  int64_t prompt_rows = 0;
  auto runs = running_.begin();
  auto waits = waiting_.begin();
  while (load_.rows < rows_max) {
    while (runs != running_.end() && errands[*runs].rows == 1) ++runs;
    const bool may_start = waits != waiting_.end() && free > 0;
    if (runs == running_.end() && !may_start) break;
    const bool starts =
        may_start && (runs == running_.end() || IsMoreUrgent(errands, *waits, *runs));
    const size_t i = starts ? *waits++ : *runs++;
    const Errand& errand = errands[i];
    const int64_t most = std::min(errand.rows, rows_max - load_.rows);
    int64_t rows = most;
    if (options.step_max < base::Duration::Max()) {
      rows = cost.RowsWithin(options.step_max, load_, errand.context, most, most == errand.rows);
      rows = std::max(rows, std::min(most, options.prompt_rows_min - prompt_rows));
      if (rows <= 0) break;
    }
    if (starts) --free;
    load_.Add(rows, errand.context, rows == errand.rows);
    parts_.push_back({i, rows});
    prompt_rows += rows;
  }
}

int64_t Forecast::Repeats(const std::vector<Errand>& errands) const {
  int64_t repeats = std::numeric_limits<int64_t>::max();
  for (const Part& part : parts_) {
    const Errand& errand = errands[part.errand];
    const int64_t own = errand.rows == 1           ? errand.further + 1
                        : part.rows >= errand.rows ? 1
                                                   : (errand.rows - 1) / part.rows;
    repeats = std::min(repeats, own);
  }
  return repeats;
}

void Forecast::Advance(int64_t repeats, base::Time now, std::vector<Errand>& errands) {
  for (const Part& part : parts_) {
    Errand& errand = errands[part.errand];
    if (!errand.running) {
      errand.running = true;
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), part.errand));
      const auto before = [&](size_t a, size_t b) { return IsMoreUrgent(errands, a, b); };
      running_.insert(std::lower_bound(running_.begin(), running_.end(), part.errand, before),
                      part.errand);
    }
    errand.context += part.rows * repeats;
    if (errand.rows > 1) {
      errand.rows -= part.rows * repeats;
      if (errand.rows > 0) continue;
      errand.rows = 1;
      --errand.further;
    } else {
      errand.further -= repeats;
    }
    // further < 0: the last token was this one.
    if (errand.further < 0) errand.rows = 0;
  }
  const auto is_gone = [&](size_t i) {
    Errand& errand = errands[i];
    const bool late = now > errand.deadline;
    errand.finished = late ? base::Time::Never() : now;
    return errand.rows == 0 || late;
  };
  std::erase_if(running_, is_gone);
  std::erase_if(waiting_, is_gone);
}

void Forecast::Play(const Options& options, const StepCost& cost, base::Time start,
                    std::vector<Errand>& errands) {
  running_.clear();
  waiting_.clear();
  for (size_t i = 0; i < errands.size(); ++i) {
    errands[i].finished = start;
    (errands[i].running ? running_ : waiting_).push_back(i);
  }
  const auto before = [&](size_t a, size_t b) { return IsMoreUrgent(errands, a, b); };
  std::sort(running_.begin(), running_.end(), before);
  std::sort(waiting_.begin(), waiting_.end(), before);
  base::Time now = start;
  for (int64_t played = 0; played < kStepsMax; ++played) {
    FormStep(options, cost, errands);
    if (parts_.empty()) break;
    const int64_t repeats = Repeats(errands);
    // What they look at grows from step to step: the middle one stands for all.
    StepLoad middle = load_;
    for (const Part& part : parts_) middle.pairs += part.rows * part.rows * (repeats - 1) / 2;
    const double took = static_cast<double>(cost.Mean(middle).ns) * options.stretch;
    now = now + base::Duration{static_cast<int64_t>(took)} * repeats;
    Advance(repeats, now, errands);
  }
}

}  // namespace sluice::lm

#include "lm/forecast.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace sluice::lm {

void Forecast::FormStep(const Options& options, const StepCost& cost,
                        const std::vector<Errand>& errands) {
  parts_.clear();
  load_ = {};
  for (const size_t i : turn_) {
    const Errand& errand = errands[i];
    if (!errand.running || errand.rows > 1 || load_.rows >= options.rows_max) continue;
    load_.Add(1, errand.context, true);
    parts_.push_back({i, 1});
  }
  int64_t free = options.running_max;
  for (const size_t i : turn_) free -= errands[i].running ? 1 : 0;
  int64_t prompt_rows = 0;
  for (const size_t i : turn_) {
    const Errand& errand = errands[i];
    if (load_.rows >= options.rows_max) break;
    if ((errand.running && errand.rows == 1) || (!errand.running && free <= 0)) continue;
    const int64_t most = std::min(errand.rows, options.rows_max - load_.rows);
    int64_t rows = most;
    if (options.step_max < base::Duration::Max()) {
      rows = cost.RowsWithin(options.step_max, load_, errand.context, most, most == errand.rows);
      rows = std::max(rows, std::min(most, options.prompt_rows_min - prompt_rows));
      if (rows <= 0) break;
    }
    if (!errand.running) --free;
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

void Forecast::Play(const Options& options, const StepCost& cost, base::Time start,
                    std::vector<Errand>& errands) {
  turn_.clear();
  for (size_t i = 0; i < errands.size(); ++i) {
    errands[i].finished = start;
    turn_.push_back(i);
  }
  std::sort(turn_.begin(), turn_.end(), [&](size_t a, size_t b) {
    return std::tie(errands[a].priority, errands[a].urgent, a) <
           std::tie(errands[b].priority, errands[b].urgent, b);
  });
  base::Time now = start;
  for (int64_t played = 0; !turn_.empty() && played < kStepsMax; ++played) {
    FormStep(options, cost, errands);
    if (parts_.empty()) break;
    const int64_t repeats = Repeats(errands);
    // What they look at grows from step to step: the middle one stands for all.
    StepLoad middle = load_;
    for (const Part& part : parts_) middle.pairs += part.rows * part.rows * (repeats - 1) / 2;
    now = now + cost.Mean(middle) * repeats;
    for (const Part& part : parts_) {
      Errand& errand = errands[part.errand];
      errand.running = true;
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
    std::erase_if(turn_, [&](size_t i) {
      Errand& errand = errands[i];
      errand.finished = now;
      if (now > errand.deadline) errand.finished = base::Time::Never();
      return errand.rows == 0 || now > errand.deadline;
    });
  }
}

}  // namespace sluice::lm

// Forecast: when sequences will have all their tokens, by playing the coming steps in predicted
// time. Admission asks it whether a newcomer can be in time behind what is there, and whether
// somebody would be late for it.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "base/clock.h"
#include "lm/schedule/step_cost.h"

namespace sluice::lm {

// What a sequence still needs.
struct Errand {
  int64_t rows = 0;     // until its next token, or its end where no tokens follow; at least one
  int64_t further = 0;  // tokens behind that one, a row each
  int64_t context = 0;  // positions computed
  int32_t priority = 1;
  base::Time urgent = {};                     // by which it is ordered among those of its priority
  base::Time deadline = base::Time::Never();  // after this it is given up
  bool running = false;
  base::Time finished = {};  // the answer; Never when it is given up
};

// Owner: one engine, its lease holder. Keeps its work space.
class Forecast {
 public:
  struct Options {
    int64_t rows_max = 0;                                              // of a step
    int64_t rows_beside_speech = std::numeric_limits<int64_t>::max();  // where somebody speaks
    int32_t running_max = 0;
    base::Duration step_max = base::Duration::Max();  // prompts are cut so that steps take no more
    int64_t prompt_rows_min = 1;  // that such a step computes of prompts all the same
    double stretch = 1;           // time that passes in a step's time, others running beside
  };
  // Steps that a forecast plays at most, several equal ones counted as one. What is not done by
  // then counts as in time.
  static constexpr int64_t kStepsMax = 4096;

  // Sets `finished` of each. As in Scheduler, sequences that speak go on speaking, then come
  // prompts in the order of urgency, within the rows of a step.
  void Play(const Options& options, const StepCost& cost, base::Time start,
            std::vector<Errand>& errands);

 private:
  struct Part {
    size_t errand;
    int64_t rows;
  };
  static bool IsMoreUrgent(const std::vector<Errand>& errands, size_t a, size_t b);
  void FormStep(const Options& options, const StepCost& cost, const std::vector<Errand>& errands);
  // The step's parts are computed so many times; it was now when they were.
  void Advance(int64_t repeats, base::Time now, std::vector<Errand>& errands);
  // How often this step can be repeated until one of its members does something else.
  int64_t Repeats(const std::vector<Errand>& errands) const;

  // Those not done, the more urgent first.
  std::vector<size_t> running_;
  std::vector<size_t> waiting_;
  std::vector<Part> parts_;
  StepLoad load_;
};

}  // namespace sluice::lm

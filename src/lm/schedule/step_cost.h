// StepCost: what a step of a language model will take, from what it consists of and from what steps
// took.
//
// time = step + rows * row + logits * logit + pairs * pair, each coefficient the prior's times a
// factor that follows what was measured (a Kalman filter over the logarithms of the four factors,
// which may wander: Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960).
// What is not linear in the rows, as products of few of them are not, is in a correction by octave
// of rows.
#pragma once

#include <array>
#include <cstdint>

#include "base/clock.h"
#include "engine/engine.h"

namespace sluice::lm {

// A step, as far as its time depends on it.
struct StepLoad {
  int64_t rows = 0;
  int64_t logits = 0;  // rows whose logits are wanted
  int64_t pairs = 0;   // of a row and a position that it looks at

  // `count` more rows of a sequence that has `context` positions before them.
  void Add(int64_t count, int64_t context, bool wants_logits) {
    rows += count;
    logits += wants_logits ? 1 : 0;
    pairs += count * context + count * (count + 1) / 2;
  }
};

// One per engine; the lease holder only. Fixed memory.
class StepCost {
 public:
  static constexpr base::Duration kProbeEvery = base::Duration::Seconds(1);

  // What each takes at the least, in nanoseconds.
  struct Prior {
    double step = 0;  // whatever its rows: reading the weights
    double row = 0;
    double logit = 0;
    double pair = 0;
  };
  explicit StepCost(const Prior& prior);

  // What such steps take in the mean.
  base::Duration Mean(const StepLoad& load) const;
  // What one of twenty such steps exceeds; `measured` where steps of as many rows, or of fewer and
  // of more, were recorded.
  engine::Cost High(const StepLoad& load) const;
  // The most rows of a sequence with `context` positions that, `load` beside them, make a step that
  // takes at most `within` by High: in [0, most]. The last of `most` rows has logits where wanted.
  int64_t RowsWithin(base::Duration within, const StepLoad& load, int64_t context, int64_t most,
                     bool wants_logits) const;

  // A step took `measured`. The first one of its octave, which also paid for cold caches, is let
  // pass.
  void Record(const StepLoad& load, base::Duration measured);
  // A step was abandoned after `at_least`.
  void RecordAtLeast(const StepLoad& load, base::Duration at_least);
  // One request a second is taken although the forecast says that it will be late: else a model
  // that refuses everything would never learn better. True: this is the one.
  bool TakeProbe(base::Time now);

 private:
  static constexpr size_t kFactors = 4;
  static constexpr size_t kOctaves = 24;
  using Factors = std::array<double, kFactors>;
  struct Octave {
    int64_t samples = 0;
    double mean = 1;  // of measured over linear
    double high = 1;
  };

  static size_t OctaveOf(int64_t rows);
  Factors TermsOf(const StepLoad& load) const;  // by the prior, in nanoseconds
  double Linear(const Factors& terms) const;
  bool IsMeasured(size_t octave) const;

  const Factors prior_;
  Factors factors_;
  std::array<Factors, kFactors> spread_{};  // covariance of their logarithms
  std::array<Octave, kOctaves> octaves_;
  int64_t samples_ = 0;
  base::Time next_probe_;
};

}  // namespace sluice::lm

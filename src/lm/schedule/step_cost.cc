#include "lm/schedule/step_cost.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sluice::lm {
namespace {

// Of logarithms of factors.
constexpr double kLogMax = 12;          // a prior is never trusted to be further off
constexpr double kSpreadMax = 4;        // variance of one that was never measured
constexpr double kWander = 4e-6;        // by which it grows from step to step
constexpr double kNoise = 0.05 * 0.05;  // variance of a measurement's logarithm
constexpr double kDoubt = 0.1;          // of a surprise's square, added to that variance
constexpr int64_t kSettling = 16;       // samples until octaves follow
constexpr double kMeanStep = 0.05;      // how fast the mean of an octave does
constexpr double kQuantile = 0.95;
constexpr double kQuantileStep = 0.1;
constexpr double kHighMax = 4;
constexpr int64_t kSamplesNeeded = 2;

}  // namespace

StepCost::StepCost(const Prior& prior) : prior_{prior.step, prior.row, prior.logit, prior.pair} {
  factors_.fill(1);
  for (size_t i = 0; i < kFactors; ++i) spread_[i][i] = kSpreadMax;
}

size_t StepCost::OctaveOf(int64_t rows) {
  return std::min<size_t>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(rows, 1))) - 1,
                          kOctaves - 1);
}

StepCost::Factors StepCost::TermsOf(const StepLoad& load) const {
  return {prior_[0], prior_[1] * static_cast<double>(load.rows),
          prior_[2] * static_cast<double>(load.logits),
          prior_[3] * static_cast<double>(load.pairs)};
}

double StepCost::Linear(const Factors& terms) const {
  double sum = 1;
  for (size_t i = 0; i < kFactors; ++i) sum += terms[i] * factors_[i];
  return std::min(sum, 1e17);
}

base::Duration StepCost::Mean(const StepLoad& load) const {
  return {static_cast<int64_t>(Linear(TermsOf(load)) * octaves_[OctaveOf(load.rows)].mean)};
}

bool StepCost::IsMeasured(size_t octave) const {
  if (octaves_[octave].samples >= kSamplesNeeded) return true;
  const auto known = [](const Octave& o) { return o.samples >= kSamplesNeeded; };
  const auto here = octaves_.begin() + static_cast<std::ptrdiff_t>(octave);
  return std::any_of(octaves_.begin(), here, known) && std::any_of(here, octaves_.end(), known);
}

engine::Cost StepCost::High(const StepLoad& load) const {
  const size_t octave = OctaveOf(load.rows);
  const Octave& at = octaves_[octave];
  const double ns = Linear(TermsOf(load)) * std::max(at.high, at.mean);
  return {{static_cast<int64_t>(ns)}, IsMeasured(octave), load.rows};
}

int64_t StepCost::RowsWithin(base::Duration within, const StepLoad& load, int64_t context,
                             int64_t most, bool wants_logits) const {
  const auto fits = [&](int64_t rows) {
    StepLoad with = load;
    with.Add(rows, context, wants_logits && rows == most);
    return High(with).predicted <= within;
  };
  if (most <= 0 || fits(most)) return std::max<int64_t>(most, 0);
  int64_t low = 0, high = most;  // low fits or is 0, high does not
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

void StepCost::Record(const StepLoad& load, base::Duration measured) {
  Octave& octave = octaves_[OctaveOf(load.rows)];
  if (octave.samples++ == 0) return;
  const auto took = static_cast<double>(std::max<int64_t>(measured.ns, 1));
  // By how much of itself the prediction grows with each factor.
  Factors share = TermsOf(load);
  const double predicted = Linear(share);
  for (size_t i = 0; i < kFactors; ++i) share[i] *= factors_[i] / predicted;
  const double surprise = std::log(took / predicted);
  Factors gain{};
  double variance = kNoise + kDoubt * surprise * surprise;
  for (size_t i = 0; i < kFactors; ++i) {
    for (size_t j = 0; j < kFactors; ++j) gain[i] += spread_[i][j] * share[j];
    variance += share[i] * gain[i];
  }
  for (size_t i = 0; i < kFactors; ++i) {
    const double moved = std::log(factors_[i]) + gain[i] / variance * surprise;
    factors_[i] = std::exp(std::clamp(moved, -kLogMax, kLogMax));
    for (size_t j = 0; j < kFactors; ++j) spread_[i][j] -= gain[i] * gain[j] / variance;
    if (spread_[i][i] < kSpreadMax) spread_[i][i] += kWander;
  }
  if (++samples_ < kSettling) return;
  // What the filter could not explain.
  const double ratio = std::min(took / Linear(TermsOf(load)), kHighMax);
  octave.mean += kMeanStep * (ratio - octave.mean);
  octave.high += kQuantileStep * (ratio > octave.high ? kQuantile : kQuantile - 1);
  octave.high = std::clamp(octave.high, 0.5, kHighMax);
}

void StepCost::RecordAtLeast(const StepLoad& load, base::Duration at_least) {
  if (at_least > High(load).predicted) Record(load, at_least);
}

bool StepCost::TakeProbe(base::Time now) {
  if (now < next_probe_) return false;
  next_probe_ = now + kProbeEvery;
  return true;
}

}  // namespace sluice::lm

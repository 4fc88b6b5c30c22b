#include "bin/divergence.h"

#include <algorithm>
#include <cmath>

namespace sluice::bin {

Expectation Expect(std::span<const float> logits) {
  Expectation row;
  row.logits = logits;
  const auto best = std::max_element(logits.begin(), logits.end());
  row.best = best - logits.begin();
  const double highest = *best;
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - highest);
  row.log_sum = highest + std::log(sum);
  return row;
}

double Divergence(const Expectation& p, const Expectation& q) {
  double sum = 0;
  for (size_t i = 0; i < p.logits.size(); ++i) {
    const double log_p = static_cast<double>(p.logits[i]) - p.log_sum;
    const double log_q = static_cast<double>(q.logits[i]) - q.log_sum;
    sum += std::exp(log_p) * (log_p - log_q);
  }
  return std::max(sum, 0.0);
}

PositionScore ScorePosition(const Expectation& reference, std::span<const float> logits,
                            int64_t next) {
  if (logits.data() == reference.logits.data()) {
    return {-reference.logprob(next), 0, true};
  }
  const Expectation row = Expect(logits);
  return {-row.logprob(next), Divergence(reference, row), row.best == reference.best};
}

TextScore Summarise(const std::vector<PositionScore>& positions) {
  TextScore score;
  score.positions = static_cast<int64_t>(positions.size());
  if (positions.empty()) return score;
  const auto count = static_cast<double>(positions.size());
  double surprise = 0;
  double agreeing = 0;
  std::vector<double> divergences;
  divergences.reserve(positions.size());
  for (const PositionScore& position : positions) {
    surprise += position.surprise;
    agreeing += position.agrees ? 1 : 0;
    score.divergence_mean += position.divergence / count;
    divergences.push_back(position.divergence);
  }
  std::sort(divergences.begin(), divergences.end());
  score.divergence_99 = divergences[(divergences.size() - 1) * 99 / 100];
  score.divergence_max = divergences.back();
  score.perplexity = std::exp(surprise / count);
  score.agreement = agreeing / count;
  return score;
}

}  // namespace sluice::bin

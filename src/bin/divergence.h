// How far what a model expects of a text is from the text and from what a reference expects:
// perplexity, Kullback-Leibler divergence, agreement.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sluice::bin {

// A row of logits as probabilities.
struct Expectation {
  std::span<const float> logits;  // [vocabulary]
  double log_sum = 0;             // of their exponentials
  int64_t best = 0;               // the highest, the first of equals

  double logprob(int64_t token) const {
    return static_cast<double>(logits[static_cast<size_t>(token)]) - log_sum;
  }
};
Expectation Expect(std::span<const float> logits);

// Sum of p (log p - log q) over the vocabulary, in nats; never below 0.
double Divergence(const Expectation& p, const Expectation& q);

// One position of a text as a form of a model sees it.
struct PositionScore {
  double surprise = 0;    // -log of the probability of the token that follows
  double divergence = 0;  // of what the form expects from what the reference expects
  bool agrees = false;    // the likeliest token is the reference's
};
PositionScore ScorePosition(const Expectation& reference, std::span<const float> logits,
                            int64_t next);

// Of many positions.
struct TextScore {
  int64_t positions = 0;
  double perplexity = 0;
  double divergence_mean = 0;
  double divergence_99 = 0;  // 99 of 100 positions diverge by less
  double divergence_max = 0;
  double agreement = 0;  // share of positions
};
TextScore Summarise(const std::vector<PositionScore>& positions);

}  // namespace sluice::bin

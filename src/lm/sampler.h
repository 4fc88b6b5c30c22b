// From a row of logits to the next token.
//
// The same parameters, tokens so far and logits give the same token, on every run and in any
// company: a draw's random number is a function of the request's seed and the token's position.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace sluice::lm {

// Of one request. Applied in this order: repetition, presence and frequency penalties, bias,
// temperature, min_p, top_k, top_p; each of the last three looks at what the one before has left.
struct SamplingParameters {
  float temperature = 1;  // 0: the highest logit, the first of equals
  float min_p = 0;        // tokens below min_p times the likeliest's probability are left out
  int32_t top_k = 0;      // that many of the likeliest; 0: all
  float top_p = 1;        // the fewest of the likeliest whose probabilities reach top_p
  float repetition_penalty = 1;  // of all tokens so far: positive logits are divided by it, others
                                 // multiplied (Keskar et al., CTRL, 2019)
  float presence_penalty = 0;    // subtracted from logits of generated tokens
  float frequency_penalty = 0;   // the same for each time
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> bias = {};  // added to these tokens' logits
  int32_t logprobs = -1;  // how many of the likeliest tokens to report; negative: no logprobs
};
inline constexpr int32_t kLogprobsMax = 20;

// A token and the logarithm of its probability.
struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
};

struct Sample {
  int32_t token = 0;
  // Where the parameters ask for it, of the model's own distribution, before penalties and all
  // else.
  float logprob = 0;
  std::vector<TokenLogprob> top;  // the likeliest first, the lower token first among equals
};

// Whether draws look at the tokens so far.
bool HasPenalties(const SamplingParameters& parameters);

// What an answer has said so far, counted.
class TokenCounts {
 public:
  void AddPrompt(std::span<const int32_t> tokens);
  void AddGenerated(int32_t token);

  struct Count {
    int32_t token;
    int32_t generated;  // times; 0: in the prompt alone
  };
  std::span<const Count> counts() const { return counts_; }

 private:
  Count& Find(int32_t token);

  std::vector<Count> counts_;  // by token, ascending
};

// Applies penalties and bias to a row.
void Penalise(const SamplingParameters& parameters, const TokenCounts& counts,
              std::span<float> logits);

// Work space of one thread, reused from row to row.
class Sampler {
 public:
  // Draws from `logits` [vocabulary]. `counts` is looked at where a penalty is set; `position` is
  // that of the token to be drawn. A row without a finite logit gives token 0.
  void Draw(std::span<const float> logits, const SamplingParameters& parameters,
            const TokenCounts& counts, int64_t position, Sample& sample) {
    Draw(logits, parameters, counts, parameters.seed, position, sample);
  }
  // The same by another seed than the parameters'.
  void Draw(std::span<const float> logits, const SamplingParameters& parameters,
            const TokenCounts& counts, uint64_t seed, int64_t position, Sample& sample);
  // No draw: what the model gives `token`, and the `top` likeliest.
  void Score(std::span<const float> logits, int32_t token, int32_t top, Sample& sample);
  // The logarithm of the sum of the row's exponentials: a logit less it is a logprob.
  float Normaliser(std::span<const float> logits);

 private:
  struct Candidate {
    int32_t token;
    float weight;  // e to the logit, relative to the highest
  };

  void ReportTop(std::span<const float> logits, float normaliser, int32_t top, Sample& sample);
  int32_t DrawFromAll(std::span<const float> logits, float highest, float scale, double random);
  int32_t DrawFromLikeliest(std::span<const float> logits, float highest,
                            const SamplingParameters& parameters, double random);
  // Candidates with at least the weight e^-depth, the likeliest first.
  void Collect(std::span<const float> logits, float highest, float scale, float depth);

  std::vector<float> changed_;  // the row with penalties and bias
  std::vector<float> sums_;
  std::vector<float> terms_;
  std::vector<int32_t> indices_;
  std::vector<Candidate> candidates_;
};

// In [0, 1): a function of its arguments alone.
double UniformAt(uint64_t seed, int64_t position);
// Of the index-th of several answers to one request. The first one has the request's own.
uint64_t SeedOf(uint64_t seed, int64_t index);

}  // namespace sluice::lm

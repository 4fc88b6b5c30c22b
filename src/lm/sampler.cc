#include "lm/sampler.h"

#include <algorithm>
#include <cmath>

#include "kernels/logit_rows.h"

namespace sluice::lm {
namespace {

int64_t Blocks(size_t n) {
  return (static_cast<int64_t>(n) + kernels::kLogitBlock - 1) / kernels::kLogitBlock;
}

uint64_t Mix(uint64_t x) {
  // SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
  // OOPSLA 2014).
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

}  // namespace

bool HasPenalties(const SamplingParameters& p) {
  return p.repetition_penalty != 1 || p.presence_penalty != 0 || p.frequency_penalty != 0;
}

uint64_t SeedOf(uint64_t seed, int64_t index) {
  return index == 0 ? seed : Mix(Mix(seed) + static_cast<uint64_t>(index));
}

double UniformAt(uint64_t seed, int64_t position) {
  const uint64_t bits = Mix(Mix(seed) ^ static_cast<uint64_t>(position));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

TokenCounts::Count& TokenCounts::Find(int32_t token) {
  const auto at = std::lower_bound(counts_.begin(), counts_.end(), token,
                                   [](const Count& count, int32_t t) { return count.token < t; });
  if (at != counts_.end() && at->token == token) return *at;
  return *counts_.insert(at, {token, 0});
}

void TokenCounts::AddPrompt(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) counts_.push_back({token, 0});
  std::stable_sort(counts_.begin(), counts_.end(),
                   [](const Count& a, const Count& b) { return a.token < b.token; });
  size_t kept = 0;
  for (const Count& count : counts_) {
    if (kept > 0 && counts_[kept - 1].token == count.token) {
      counts_[kept - 1].generated += count.generated;
    } else {
      counts_[kept++] = count;
    }
  }
  counts_.resize(kept);
}

void TokenCounts::AddGenerated(int32_t token) {
  ++Find(token).generated;
}

void Penalise(const SamplingParameters& p, const TokenCounts& counts, std::span<float> logits) {
  if (HasPenalties(p)) {
    for (const TokenCounts::Count& count : counts.counts()) {
      float& logit = logits[static_cast<size_t>(count.token)];
      logit = logit > 0 ? logit / p.repetition_penalty : logit * p.repetition_penalty;
      if (count.generated == 0) continue;
      logit -= p.presence_penalty + p.frequency_penalty * static_cast<float>(count.generated);
    }
  }
  for (const auto& [token, bias] : p.bias) logits[static_cast<size_t>(token)] += bias;
}

void Sampler::Draw(std::span<const float> logits, const SamplingParameters& parameters,
                   const TokenCounts& counts, uint64_t seed, int64_t position, Sample& sample) {
  std::span<const float> row = logits;
  if (HasPenalties(parameters) || !parameters.bias.empty()) {
    changed_.assign(logits.begin(), logits.end());
    Penalise(parameters, counts, changed_);
    row = changed_;
  }
  const kernels::LogitMaximum highest =
      kernels::FindLogitMaximum(row.data(), static_cast<int64_t>(row.size()));
  if (parameters.temperature == 0 || !std::isfinite(highest.value)) {
    sample.token = static_cast<int32_t>(highest.index);
  } else {
    const double random = UniformAt(seed, position);
    const bool all = parameters.top_k == 0 && parameters.top_p >= 1 && parameters.min_p <= 0;
    sample.token = all ? DrawFromAll(row, highest.value, 1 / parameters.temperature, random)
                       : DrawFromLikeliest(row, highest.value, parameters, random);
  }
  sample.top.clear();
  sample.logprob = 0;
  if (parameters.logprobs >= 0) Score(logits, sample.token, parameters.logprobs, sample);
}

float Sampler::Normaliser(std::span<const float> logits) {
  const auto n = static_cast<int64_t>(logits.size());
  const kernels::LogitMaximum highest = kernels::FindLogitMaximum(logits.data(), n);
  sums_.resize(static_cast<size_t>(Blocks(logits.size())));
  kernels::SumLogitExps(logits.data(), n, highest.value, 1, sums_.data());
  double total = 0;
  for (const float sum : sums_) total += sum;
  return static_cast<float>(highest.value + std::log(total));
}

void Sampler::Score(std::span<const float> logits, int32_t token, int32_t top, Sample& sample) {
  const float normaliser = Normaliser(logits);
  sample.token = token;
  sample.logprob = logits[static_cast<size_t>(token)] - normaliser;
  sample.top.clear();
  if (top > 0) ReportTop(logits, normaliser, top, sample);
}

void Sampler::ReportTop(std::span<const float> logits, float normaliser, int32_t top,
                        Sample& sample) {
  const auto n = static_cast<int64_t>(logits.size());
  const float highest = kernels::FindLogitMaximum(logits.data(), n).value;
  const auto count = static_cast<size_t>(std::min<int64_t>(top, n));
  for (float depth = 16;; depth *= 4) {
    Collect(logits, highest, 1, depth);
    if (candidates_.size() >= count || depth > 1e6f) break;
  }
  candidates_.resize(std::min(count, candidates_.size()));
  for (const Candidate& candidate : candidates_) {
    const float logit = logits[static_cast<size_t>(candidate.token)];
    sample.top.push_back({candidate.token, logit - normaliser});
  }
}

int32_t Sampler::DrawFromAll(std::span<const float> logits, float highest, float scale,
                             double random) {
  const auto n = static_cast<int64_t>(logits.size());
  sums_.resize(static_cast<size_t>(Blocks(logits.size())));
  kernels::SumLogitExps(logits.data(), n, highest, scale, sums_.data());
  double total = 0;
  for (const float sum : sums_) total += sum;
  double left = random * total;
  int64_t block = 0;
  while (block + 1 < Blocks(logits.size()) && left >= sums_[static_cast<size_t>(block)]) {
    left -= sums_[static_cast<size_t>(block++)];
  }
  const int64_t begin = block * kernels::kLogitBlock;
  const int64_t count = std::min(kernels::kLogitBlock, n - begin);
  terms_.resize(static_cast<size_t>(kernels::kLogitBlock));
  kernels::LogitExps(logits.data() + begin, count, highest, scale, terms_.data());
  // Rounding may leave a rest behind the last term: then it is the last one with any weight.
  int64_t drawn = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float term = terms_[static_cast<size_t>(i)];
    if (term <= 0) continue;
    drawn = i;
    if (left < term) break;
    left -= term;
  }
  return static_cast<int32_t>(begin + drawn);
}

void Sampler::Collect(std::span<const float> logits, float highest, float scale, float depth) {
  const float threshold = highest - depth / scale;
  const auto n = static_cast<int64_t>(logits.size());
  indices_.resize(std::max<size_t>(indices_.size(), 256));
  int64_t count = 0;
  for (;;) {
    const auto room = static_cast<int64_t>(indices_.size());
    count = kernels::CollectLogits(logits.data(), n, threshold, indices_.data(), room);
    if (count <= room) break;
    indices_.resize(static_cast<size_t>(count));
  }
  candidates_.clear();
  for (int64_t i = 0; i < count; ++i) {
    const int32_t token = indices_[static_cast<size_t>(i)];
    const float logit = logits[static_cast<size_t>(token)];
    candidates_.push_back({token, std::exp((logit - highest) * scale)});
  }
  // By the logits themselves: far down their exponentials are equal.
  std::sort(candidates_.begin(), candidates_.end(), [&](const Candidate& a, const Candidate& b) {
    const float first = logits[static_cast<size_t>(a.token)];
    const float second = logits[static_cast<size_t>(b.token)];
    return first != second ? first > second : a.token < b.token;
  });
}

int32_t Sampler::DrawFromLikeliest(std::span<const float> logits, float highest,
                                   const SamplingParameters& parameters, double random) {
  const auto n = static_cast<int64_t>(logits.size());
  const float scale = 1 / parameters.temperature;
  const auto top_k = static_cast<size_t>(parameters.top_k == 0 ? n : parameters.top_k);
  // Of the whole row: what top_p refers to where nothing else cuts it.
  double total = 0;
  if (parameters.top_p < 1) {
    sums_.resize(static_cast<size_t>(Blocks(logits.size())));
    kernels::SumLogitExps(logits.data(), n, highest, scale, sums_.data());
    for (const float sum : sums_) total += sum;
  }
  // Below e^-88 an exponential is 0: nothing there can be drawn.
  constexpr float kDepthMax = 88;
  const bool cut_by_mass = parameters.top_k == 0 && parameters.min_p <= 0;
  const float deepest =
      parameters.min_p > 0 ? std::min(kDepthMax, -std::log(parameters.min_p)) : kDepthMax;
  for (float depth = parameters.min_p > 0 ? deepest : 8;; depth = std::min(deepest, depth * 2)) {
    Collect(logits, highest, scale, depth);
    if (candidates_.size() > top_k) candidates_.resize(top_k);
    double kept = 0;
    for (const Candidate& candidate : candidates_) kept += candidate.weight;
    const bool whole = depth >= deepest || candidates_.size() == top_k;
    if (!whole && (!cut_by_mass || kept < parameters.top_p * total)) continue;
    const double goal = parameters.top_p * (whole ? kept : total);
    double reached = 0;
    size_t count = 0;
    while (count < candidates_.size() && (count == 0 || reached < goal)) {
      reached += candidates_[count++].weight;
    }
    double left = random * reached;
    for (size_t i = 0; i < count; ++i) {
      if (left < candidates_[i].weight) return candidates_[i].token;
      left -= candidates_[i].weight;
    }
    return candidates_[count - 1].token;
  }
}

}  // namespace sluice::lm

#include "lm/task/score_outputs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "lm/task/scored_tokens.h"
#include "lm/task_names.h"

namespace sluice::lm {

void NormalizeVector(std::span<float> vector) {
  double sum = 0;
  for (const float x : vector) sum += static_cast<double>(x) * static_cast<double>(x);
  // torch.nn.functional.normalize's epsilon.
  const auto norm = static_cast<float>(std::max(std::sqrt(sum), 1e-12));
  for (float& x : vector) x /= norm;
}

void ActivateScores(ScoreActivation activation, std::span<float> scores) {
  if (activation == ScoreActivation::kSigmoid) {
    for (float& score : scores) score = 1 / (1 + std::exp(-score));
  }
  if (activation != ScoreActivation::kSoftmax) return;
  const float most = *std::max_element(scores.begin(), scores.end());
  float sum = 0;
  for (float& score : scores) {
    score = std::exp(score - most);
    sum += score;
  }
  for (float& score : scores) score /= sum;
}

tensor::Tensor FilledTensor(const tensor::Shape& shape, float value) {
  tensor::Tensor tensor;
  tensor.dtype = tensor::DType::kF32;
  tensor.shape = shape;
  tensor.buffer = tensor::Buffer::Allocate(tensor.bytes());
  const std::span<float> all = tensor.mutable_view().span<float>();
  std::fill(all.begin(), all.end(), value);
  return tensor;
}

void AppendScores(tensor::Tensor all, const Ranking& ranking,
                  std::vector<tensor::NamedTensor>& outputs) {
  using tensor::DType;
  if (ranking.top_k == 0) {
    outputs.push_back({kScores, std::move(all)});
    return;
  }
  const std::span<const float> scores = all.view().span<float>();
  const int64_t columns = all.shape[1];
  const auto width = static_cast<size_t>(columns);
  std::vector<int32_t> order(scores.size() / width);
  std::iota(order.begin(), order.end(), 0);
  // NaN is behind all else; equal scores stay in the request's order.
  const auto key = [&](int32_t item) {
    const float score =
        scores[static_cast<size_t>(item) * width + static_cast<size_t>(ranking.by_label)];
    return std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
  };
  std::partial_sort(
      order.begin(), order.begin() + ranking.top_k, order.end(),
      [&](int32_t a, int32_t b) { return key(a) != key(b) ? key(a) > key(b) : a < b; });
  order.resize(static_cast<size_t>(ranking.top_k));
  std::vector<float> best;
  for (const int32_t item : order) {
    const std::span<const float> own = scores.subspan(static_cast<size_t>(item) * width, width);
    best.insert(best.end(), own.begin(), own.end());
  }
  outputs.push_back({kTopItems, CopiedTensor<int32_t>(DType::kI32, order)});
  outputs.push_back({kScores, CopiedTensor<float>(DType::kF32, best, columns)});
}

}  // namespace sluice::lm

// From what a model gives to the vectors and scores of a reply.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"
#include "lm/task/scoring.h"

namespace sluice::lm {

// To the length 1.
void NormalizeVector(std::span<float> vector);
// One row of a classifier's logits.
void ActivateScores(ScoreActivation activation, std::span<float> scores);
// `scores` F32 [items, columns], all of them or the best: outputs scores and top_items.
void AppendScores(tensor::Tensor scores, const Ranking& ranking,
                  std::vector<tensor::NamedTensor>& outputs);
// F32 with the same number everywhere. The caller has bounded its size.
tensor::Tensor FilledTensor(const tensor::Shape& shape, float value);

}  // namespace sluice::lm

// How much a model's answers change when its weights are kept differently.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "bin/calibration.h"
#include "graph/model.h"

namespace sluice::bin {

// The float outputs of a model over all calibration requests, one after the other.
struct Answers {
  std::vector<std::vector<float>> outputs;
  std::vector<int64_t> widths;  // elements that one row has in each of them
};
// kUnimplemented for a model that the interpreter runs.
base::Result<Answers> AnswerAll(const graph::Model& model, const Calibration& calibration);

struct AnswerChange {
  double cosine = 1;      // of a whole output; the least over the outputs
  double cosine_row = 1;  // of a row with two elements or more; the least
  double error_max = 0;   // largest difference as a share of the output's largest value
  std::optional<double> auc_before, auc_after;  // of the first output's last column
};
AnswerChange Compare(const Answers& before, const Answers& after, std::span<const float> labels);

// Area under the ROC curve: the chance that a row labelled above 0.5 scores higher than another
// one, ties counting half. Nothing when all labels are alike.
std::optional<double> AreaUnderCurve(std::span<const float> scores, std::span<const float> labels);

}  // namespace sluice::bin

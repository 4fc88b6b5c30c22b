// Which form each linear layer keeps its weight in: one for all, with exceptions by node. Given
// when a model is loaded, or written beside the model file by `sluice quantize`.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kernels/low_path.h"

namespace sluice::graph {

struct WeightChoice {
  kernels::WeightForm form = kernels::WeightForm::kF32;
  std::map<std::string, kernels::WeightForm> nodes;  // exceptions, by the name of the node

  kernels::WeightForm For(const std::string& node) const;
};

// "f32", "bf16", "int8", "bf16-storage" or "int8-storage"; kInvalidArgument lists them.
base::Result<kernels::WeightForm> ParseWeightForm(std::string_view name);

// {"weights": "int8", "nodes": {"/head/MatMul": "f32"}}; other members are ignored, so that the
// file may say how it was made. kInvalidArgument says what was expected.
base::Result<WeightChoice> ParseWeightChoice(std::string_view json);

// The file beside a model file that holds its choice: the model's path and ".weights.json".
std::string WeightChoicePath(const std::string& model_path);
// What it says; all f32 where there is none.
base::Result<WeightChoice> ReadWeightChoice(const std::string& model_path);

}  // namespace sluice::graph

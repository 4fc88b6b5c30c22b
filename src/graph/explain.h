// What a model became: passes and their work, what was fused, what was not and why, memory, flops
// and bytes per step. Text for people, JSON for programs. Measured times are profile.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/model.h"

namespace sluice::graph {

// Extents for the open dimensions of the inputs: by symbol name, else `fallback`.
struct OpenDims {
  std::map<std::string, int64_t> extents;
  int64_t fallback = 1;
};
// The input shapes that `dims` gives. kInvalidArgument names an extent of no symbol of the model.
base::Result<std::vector<tensor::Shape>> ShapesFor(const Model& model, const OpenDims& dims);

std::string ExplainText(const Model& model, const Plan& plan);
std::string ExplainJson(const Model& model, const Plan& plan);

}  // namespace sluice::graph

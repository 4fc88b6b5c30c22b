// Activations with numbers for each channel, as exporters spell them out: PReLU and Dice behind a
// layer.
#pragma once

#include <optional>
#include <vector>

#include "graph/ir.h"
#include "kernels/row_mlp.h"

namespace sluice::graph {

// What was found behind a layer's output x [..., N]: `result` is the gate's, of x's shape.
struct GateMatch {
  kernels::RowGate kind = kernels::RowGate::kNone;
  Value* result = nullptr;
  // One for each channel.
  std::vector<float> slope, scale, shift;
};

// The PReLU or Dice that is all that reads `x`: on x itself, on x seen as rows [.., N], or with the
// channels of [B, T, N] turned to the middle and back.
std::optional<GateMatch> MatchGate(const Graph& graph, Value* x);

}  // namespace sluice::graph

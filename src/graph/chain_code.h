// How a FusedChain node carries its program: attributes that survive cloning and printing. The
// kernel's form is kernels/chain.h.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/ir.h"
#include "kernels/chain.h"

namespace sluice::graph {

// One output; its type is the node's output's. Steps as seven integers each: the op, then kind and
// index of a, b, c.
struct ChainCode {
  std::vector<kernels::ChainStep> steps;
  std::vector<float> constants;
};

void SetChainCode(Node& node, const ChainCode& code);
ChainCode GetChainCode(const Node& node);
// The kernel's program for a node whose inputs have the given types.
kernels::ChainProgram MakeChainProgram(const Node& node);

}  // namespace sluice::graph

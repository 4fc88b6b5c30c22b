// The lowering of linear layers whose weight is kept in 16 or 8 bits; products.cc reads the node.
#pragma once

#include <string>

#include "graph/lower/lowering.h"
#include "kernels/activation.h"
#include "kernels/weight_store.h"

namespace sluice::graph {

// A FusedLinear node, read.
struct LowLinear {
  const kernels::LowWeight* weight = nullptr;
  int64_t m = 0;
  Place a;         // [m, k], unit stride in a row
  Ref bias;        // [n], or none
  Place residual;  // [m, n], or none
  kernels::Activation activation = kernels::Activation::kNone;
  std::string detail;
};

void AddLowLinear(Lowering& lowering, const Node& node, const LowLinear& linear);

}  // namespace sluice::graph

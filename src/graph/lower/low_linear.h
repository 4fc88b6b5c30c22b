// The lowering of linear layers whose weight is kept in 16 or 8 bits; products.cc reads the node.
#pragma once

#include <optional>
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
  Place factor;    // [m, n], or none
  kernels::Activation activation = kernels::Activation::kNone;
  std::string detail;
};

// Where the parts of prepared rows lie in their buffer.
struct PreparedParts {
  Ref data, scales, zeros;
  int64_t stride = 0;
};
// Memory for the rows of `value`, [rows, its last axis], prepared for `path`: every layer that
// reads them on this path finds them there.
PreparedParts NewPreparedRows(Lowering& lowering, const Value* value, kernels::LowPath path);
// The path for which every reader of `value` wants it prepared, when nobody reads it otherwise.
std::optional<kernels::LowPath> OnlyPreparedFor(const Lowering& lowering, const Value* value);
// The path for which a reader of `value` wants it prepared, the first one's.
std::optional<kernels::LowPath> PreparedFor(const Lowering& lowering, const Value* value);

void AddLowLinear(Lowering& lowering, const Node& node, const LowLinear& linear);

}  // namespace sluice::graph

// The longest sequence that a model with a padding mask takes, and the model typed with that as a
// fact: exporters cut a table of positions by the length, and only the bound tells that the cut is
// as long as the length.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "graph/ir.h"

namespace sluice::graph {

inline constexpr int64_t kSequenceLengthMax = 8192;  // longer ones are never packed

struct BoundedLength {
  std::unique_ptr<Graph> graph;  // null: the model has no mask that tells padding
  int64_t length_max = 0;        // at most kSequenceLengthMax
};
// `graph` has no control flow. Shapes of longer sequences are refused or, at the limit, not packed.
base::Result<BoundedLength> BoundLength(const Graph& graph);

// The input [batch, length] that tells which tokens are padding, by its name; null: none.
const Value* FindPaddingMask(const Graph& graph);

// The same nodes over inputs of other shapes, in another symbol table. kInvalidArgument when a node
// refuses them. No control flow.
base::Result<std::unique_ptr<Graph>> Retype(const Graph& graph, const std::vector<SymShape>& shapes,
                                            std::shared_ptr<SymbolTable> symbols);

}  // namespace sluice::graph

// Whether requests may be joined along dimension 0: a proof that no row's result depends on another
// row.
#pragma once

#include <string>

#include "graph/ir.h"

namespace sluice::graph {

struct Batchability {
  bool joinable = false;
  // The proof or what stands in its way: "node 'x' (ReduceMean) mixes rows: it reduces the batch
  // axis".
  std::string reason;
};

// Follows dimension 0 of the inputs through every node. Needs standard ops, so it runs before the
// fusing passes. Where a node's rule is not known the answer is no.
Batchability ProveBatchability(Graph& graph);

}  // namespace sluice::graph

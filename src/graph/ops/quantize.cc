// Quantisation.
#include "graph/ops/tables.h"

namespace sluice::graph {

std::span<const OpDef> QuantizeOps() {
  return {};
}

}  // namespace sluice::graph

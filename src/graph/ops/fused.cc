// Our own ops that passes make.
#include "graph/ops/tables.h"

namespace sluice::graph {

std::span<const OpDef> FusedOps() {
  return {};
}

}  // namespace sluice::graph

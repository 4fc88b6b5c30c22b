// Products.
#include "graph/ops/tables.h"

namespace sluice::graph {

std::span<const OpDef> MatmulOps() {
  return {};
}

}  // namespace sluice::graph

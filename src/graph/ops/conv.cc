// Windows over space.
#include "graph/ops/tables.h"

namespace sluice::graph {

std::span<const OpDef> ConvOps() {
  return {};
}

}  // namespace sluice::graph

// Attention and rotary embedding.
#include "graph/ops/tables.h"

namespace sluice::graph {

std::span<const OpDef> AttentionOps() {
  return {};
}

}  // namespace sluice::graph

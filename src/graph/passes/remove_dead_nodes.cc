// Removes what has no effect on the outputs.
#include "graph/passes/pass.h"

namespace sluice::graph {

base::Result<int64_t> RemoveDeadNodes(PassContext& context) {
  return context.graph.RemoveDead();
}

}  // namespace sluice::graph

// The optimised graph with its packed weights, and how a plan is made from it.
#pragma once

#include <memory>
#include <span>

#include "base/result.h"
#include "graph/ir.h"
#include "graph/lower/lowering.h"
#include "graph/program.h"

namespace sluice::graph {

// Immutable once built.
struct CompiledGraph {
  std::unique_ptr<Graph> graph;
  PackedWeights weights;
  LowWeights low_weights;
  int64_t weights_bytes = 0;
};

// Packs the weights of every FusedLinear, FusedConv and FusedRecurrent; constants that nothing else
// reads give their bytes back. `ragged`, which may be null, is another form of the same model and
// shares what is packed.
base::Status PackGraphs(std::unique_ptr<Graph> graph, std::unique_ptr<Graph> ragged,
                        std::unique_ptr<CompiledGraph>& compiled,
                        std::unique_ptr<CompiledGraph>& compiled_ragged);
// A plan for these input shapes, checked against the interface by the caller. kInvalidArgument when
// a node refuses them; kUnimplemented when shapes depend on data.
base::Result<std::unique_ptr<Plan>> MakePlan(const CompiledGraph& compiled,
                                             std::span<const tensor::Shape> shapes,
                                             MachineRates rates);

}  // namespace sluice::graph

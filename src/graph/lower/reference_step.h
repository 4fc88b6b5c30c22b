// A step that runs an op's reference kernel: correct for every op, fast for none. What the lowering
// rules leave over.
#pragma once

#include <span>

#include "graph/ir.h"
#include "graph/lower/program_builder.h"
#include "tensor/view.h"

namespace sluice::graph {

// An operand of the node; absent when the buffer is negative.
struct ReferenceOperand {
  tensor::View view;  // its data is filled in at run time
  Ref ref;
};

void AddReferenceStep(ProgramBuilder& builder, const Node& node,
                      std::span<const ReferenceOperand> inputs,
                      std::span<const ReferenceOperand> outputs, kernels::Work work, StepInfo info);

}  // namespace sluice::graph

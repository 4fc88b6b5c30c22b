// The registry's tables, one a family of ops. An op is added by a row in its family's table.
#pragma once

#include <span>

#include "graph/op.h"

namespace sluice::graph {

std::span<const OpDef> ElementwiseOps();
std::span<const OpDef> SelectionOps();  // where, clip, cast, dropout, …
std::span<const OpDef> ReductionOps();
std::span<const OpDef> ShapeOps();
std::span<const OpDef> MovementOps();
std::span<const OpDef> GatherOps();
std::span<const OpDef> MatmulOps();
std::span<const OpDef> NormOps();
std::span<const OpDef> ConvOps();
std::span<const OpDef> ResizeOps();
std::span<const OpDef> QuantizeOps();
std::span<const OpDef> AttentionOps();
std::span<const OpDef> RecurrentOps();
std::span<const OpDef> ControlFlowOps();
std::span<const OpDef> EmbeddingOps();  // domain kOurDomain, as the next
std::span<const OpDef> TreeOps();       // made by the reader
std::span<const OpDef> FusedOps();      // made by passes

}  // namespace sluice::graph

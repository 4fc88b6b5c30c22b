// The ways to execute a graph that the ONNX tests compare: the interpreter, and whatever is
// compiled from it.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "graph/ir.h"
#include "tensor/tensor.h"

namespace sluice::conformance {

struct ExecutionMode {
  std::string_view name;
  // May change `graph`.
  base::Result<std::vector<tensor::Tensor>> (*run)(graph::Graph& graph,
                                                   std::span<const tensor::Tensor> inputs);
};

// Null when there is none of that name.
const ExecutionMode* FindExecutionMode(std::string_view name);

}  // namespace sluice::conformance

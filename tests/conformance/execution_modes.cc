#include "conformance/execution_modes.h"

#include "graph/interpreter.h"

namespace sluice::conformance {
namespace {

base::Result<std::vector<tensor::Tensor>> Interpret(graph::Graph& graph,
                                                    std::span<const tensor::Tensor> inputs) {
  return graph::Interpreter(graph).Run(inputs);
}

constexpr ExecutionMode kModes[] = {
    {"interpreter", Interpret},
};

}  // namespace

const ExecutionMode* FindExecutionMode(std::string_view name) {
  for (const ExecutionMode& mode : kModes) {
    if (mode.name == name) return &mode;
  }
  return nullptr;
}

}  // namespace sluice::conformance

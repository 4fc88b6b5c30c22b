// The reference execution of a graph: node by node, with dynamic shapes and heap tensors. For
// constant folding, for shapes that only the data tells, and as the oracle of compiled programs;
// not the serving path.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "graph/ir.h"
#include "graph/op.h"
#include "tensor/tensor.h"

namespace sluice::graph {

struct InterpreterLimits {
  int64_t bytes_max = int64_t{4} << 30;  // of all tensors alive at one time that the run has made
  int64_t work_max = int64_t{1} << 50;   // multiply-adds of the run, roughly
  int64_t iterations_max = 1'000'000;    // of all loops of one run together
};

// Bytes made by one run and still alive, and the iterations that are left to it.
class RunBudget {
 public:
  explicit RunBudget(const InterpreterLimits& limits)
      : bytes_left_(limits.bytes_max),
        work_left_(limits.work_max),
        iterations_left_(limits.iterations_max) {}
  // A buffer that gives its bytes back when the last copy is gone. kResourceExhausted above the
  // limit.
  static base::Result<tensor::Buffer> Allocate(const std::shared_ptr<RunBudget>& budget,
                                               int64_t bytes);
  // kResourceExhausted when nothing of it is left.
  base::Status TakeIteration();
  base::Status TakeWork(int64_t operations);

 private:
  int64_t bytes_left_;
  int64_t work_left_;
  int64_t iterations_left_;
};

// Runs one graph, which must outlive it. One thread at a time.
class Interpreter {
 public:
  explicit Interpreter(const Graph& graph, const InterpreterLimits& limits = {})
      : graph_(graph), limits_(limits) {}

  // Outputs in the graph's order. kInvalidArgument when inputs do not match the graph's types and
  // shapes or a node refuses its data; kResourceExhausted at a limit; kInternal when an inferred
  // type turns out wrong, which is our bug.
  base::Result<std::vector<tensor::Tensor>> Run(std::span<const tensor::Tensor> inputs);

 private:
  friend class InterpreterContext;
  // For each node in order, the values whose last reader it is.
  using Releases = std::vector<std::vector<const Value*>>;

  const Releases& ReleasesOf(const Graph& graph);
  base::Result<std::vector<tensor::Tensor>> RunGraph(const Graph& graph,
                                                     std::span<const tensor::Tensor> inputs,
                                                     Bindings& bindings);

  const Graph& graph_;
  const InterpreterLimits limits_;
  std::shared_ptr<RunBudget> budget_;  // of the run in progress
  std::unordered_map<const Graph*, Releases> releases_;
};

// Runs one node without subgraphs on `inputs` (absent ones empty): constant folding. Outputs that
// nobody asked for are empty tensors.
base::Result<std::vector<tensor::Tensor>> RunNode(const Node& node,
                                                  std::span<const tensor::Tensor> inputs,
                                                  const InterpreterLimits& limits);

// Checks inputs against the graph's interface and binds its symbols. kInvalidArgument names the
// input, what it should be and what came.
base::Status BindInputs(const Graph& graph, std::span<const tensor::ConstView> inputs,
                        Bindings& bindings);

}  // namespace sluice::graph

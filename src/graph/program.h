// A compiled program for concrete shapes: flat steps, their arguments and where memory lies. What
// builds one is lower/program_builder.h, what runs it executor.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "kernels/low_path.h"
#include "kernels/work.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace sluice::graph {

// What steps that look at data (indices) tell of bad data. One a run, in the run's memory; the
// first failure wins.
struct RunState {
  std::atomic<int32_t> failed{0};
  int64_t position = 0;  // flat position of the offending element within the step's index operand
  int64_t value = 0;     // what stood there
  int64_t extent = 0;    // what it must be below
  const char* what = "";
  std::string* message = nullptr;  // set instead of the above by steps that run a reference kernel

  // Any thread of the run; true for the one that may fill in the rest.
  bool Claim() {
    int32_t expected = 0;
    return failed.compare_exchange_strong(expected, 1, std::memory_order_acq_rel);
  }
};

// Runs tiles [begin, end) of a step. `args` is the step's argument block with its pointers
// resolved.
using StepFunction = void (*)(const void* args, kernels::Tiles tiles);

// What a relocated pointer is relative to. Interface tensors follow: inputs, then outputs.
inline constexpr uint32_t kArenaBase = 0;      // the plan's share of the slot's memory
inline constexpr uint32_t kStateBase = 1;      // the RunState
inline constexpr uint32_t kArgumentsBase = 2;  // the resolved argument block itself
inline constexpr uint32_t kInterfaceBase = 3;

// A pointer inside an argument block: args[field] = bases[base] + offset.
struct Relocation {
  uint32_t field = 0;
  uint32_t base = 0;
  int64_t offset = 0;
};

// One call of a kernel. Plain data: executing it costs a copy of its arguments and an indirect
// call.
struct Step {
  StepFunction run = nullptr;
  uint32_t args = 0;  // offset and size of the argument block in Plan::arguments
  uint32_t args_bytes = 0;
  uint32_t relocations = 0;  // [first, first + count) in Plan::relocations
  uint32_t relocation_count = 0;
  int64_t tiles = 0;
  float predicted_ns = 0;
  bool checks_data = false;  // may set RunState
};

// What explain and profile tell of a step; never read while running.
struct StepInfo {
  std::string kind;    // "gemm", "attention", "reference Foo", …
  std::string label;   // the exporter's name of the node
  std::string detail;  // shapes and what was fused
  kernels::Work work;
  const Node* node = nullptr;         // of Plan::graph; null for steps that only rearrange memory
  std::vector<int32_t> lookups = {};  // of a FusedLookups node: those that this step does
  // What computes its products where that is not f32 multiply-adds.
  std::optional<kernels::LowPath> path = {};
};

// Immutable once built; shared by the steps that run it.
struct Plan {
  std::vector<tensor::Shape> input_shapes;
  std::vector<tensor::Shape> output_shapes;
  std::vector<Step> steps;
  std::vector<std::byte> arguments;
  std::vector<Relocation> relocations;
  std::vector<StepInfo> infos;  // one a step

  int64_t arena_bytes = 0;        // activations
  int64_t activations_bytes = 0;  // what they would take without sharing memory
  int64_t scratch_bytes = 0;      // largest argument block and the run's state
  int64_t memory_bytes = 0;       // all a run needs: the two, aligned
  double predicted_ns = 0;
  kernels::Work work;
  bool interpreted = false;  // shapes depend on data: the interpreter runs it and allocates

  std::unique_ptr<Graph> graph;           // the nodes and constants that arguments point to
  std::vector<tensor::Tensor> constants;  // made while planning
  std::vector<std::shared_ptr<const void>> owners;
};

}  // namespace sluice::graph

// Runs a compiled program: no allocation, no virtual call, a safepoint at least every quantum of
// predicted work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "graph/program.h"

namespace sluice::base {
class ThreadPool;
}

namespace sluice::graph {

// Time of each step of one run, in nanoseconds; as long as Plan::steps. The caller's memory.
struct StepTimes {
  std::span<int64_t> begin_ns;  // on the monotonic clock
  std::span<int64_t> elapsed_ns;
};

struct ExecuteArgs {
  std::span<const void* const> inputs;  // one a model input: packed, of the plan's shape
  std::span<void* const> outputs;       // one a model output
  std::byte* memory =
      nullptr;  // [memory_bytes >= plan.memory_bytes], aligned to tensor::kAlignment
  int64_t memory_bytes = 0;
  base::ThreadPool* pool = nullptr;  // null: this thread alone
  // Called between pieces of at most `quantum_ns` of predicted work, outside any parallel loop;
  // false abandons the run. Null: never called.
  bool (*safepoint)(void* context) = nullptr;
  void* safepoint_context = nullptr;
  int64_t quantum_ns = 0;
  StepTimes* times = nullptr;  // null: not measured
};

// kInvalidArgument when the data hold an index out of range, kCancelled when the safepoint said so;
// outputs are then unspecified. Thread-safe for one plan with different memory.
base::Status Execute(const Plan& plan, const ExecuteArgs& args);

}  // namespace sluice::graph

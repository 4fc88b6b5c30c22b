#include "graph/executor.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "base/clock.h"
#include "base/thread_pool.h"

namespace sluice::graph {
namespace {

// Bases of all relocations of a run. Interface tensors are looked up where they stand.
struct Bases {
  std::byte* fixed[kInterfaceBase];
  const ExecuteArgs* args;

  std::byte* At(uint32_t base) const {
    if (base < kInterfaceBase) return fixed[base];
    const size_t index = base - kInterfaceBase;
    if (index < args->inputs.size()) {
      return const_cast<std::byte*>(static_cast<const std::byte*>(args->inputs[index]));
    }
    return static_cast<std::byte*>(args->outputs[index - args->inputs.size()]);
  }
};

void Resolve(const Plan& plan, const Step& step, const Bases& bases) {
  std::byte* block = bases.fixed[kArgumentsBase];
  std::memcpy(block, plan.arguments.data() + step.args, step.args_bytes);
  const Relocation* relocation = plan.relocations.data() + step.relocations;
  for (uint32_t i = 0; i < step.relocation_count; ++i, ++relocation) {
    std::byte* const pointer = bases.At(relocation->base) + relocation->offset;
    std::memcpy(block + relocation->field, &pointer, sizeof(pointer));
  }
}

void RunTiles(const Step& step, const std::byte* block, kernels::Tiles tiles, double tile_ns,
              base::ThreadPool* pool) {
  if (pool == nullptr || tiles.end - tiles.begin == 1) {
    step.run(block, tiles);
    return;
  }
  pool->ParallelFor(tiles.end - tiles.begin, tile_ns, [&](int64_t begin, int64_t end) {
    step.run(block, {tiles.begin + begin, tiles.begin + end});
  });
}

base::Error DataError(const Plan& plan, size_t step, const RunState& state) {
  if (state.message != nullptr) {
    base::Error error = base::InvalidArgument(std::move(*state.message));
    delete state.message;
    return error;
  }
  return base::InvalidArgument(plan.infos[step].label + ": " + state.what + " " +
                               std::to_string(state.value) + " at position " +
                               std::to_string(state.position) + " is outside [0, " +
                               std::to_string(state.extent) + ")");
}

// Work since the last safepoint and when the next one is due.
class Pacer {
 public:
  Pacer(const Plan& plan, const ExecuteArgs& args)
      : args_(args),
        active_(args.safepoint != nullptr && args.quantum_ns > 0 &&
                plan.predicted_ns > static_cast<double>(args.quantum_ns)),
        quantum_(static_cast<double>(args.quantum_ns)) {}

  bool active() const { return active_; }
  // Tiles of `tile_ns` each that fit before the next safepoint; at least one.
  int64_t Fit(double tile_ns) const {
    const double left = quantum_ - spent_;
    if (tile_ns <= 0 || left / tile_ns > 1e15) return int64_t{1} << 50;
    return std::max<int64_t>(1, static_cast<int64_t>(left / tile_ns));
  }
  // Whether a piece of `ns` needs a safepoint before it.
  bool Due(double ns) const { return spent_ > 0 && spent_ + ns > quantum_; }
  void Spend(double ns) { spent_ += ns; }
  bool Reach() {
    spent_ = 0;
    return args_.safepoint(args_.safepoint_context);
  }

 private:
  const ExecuteArgs& args_;
  const bool active_;
  const double quantum_;
  double spent_ = 0;
};

// Runs a step in pieces of at most a quantum. False: abandoned.
bool RunPaced(const Step& step, const std::byte* block, base::ThreadPool* pool, Pacer& pacer) {
  const double tile_ns = static_cast<double>(step.predicted_ns) / static_cast<double>(step.tiles);
  const double lanes = pool == nullptr ? 1 : static_cast<double>(pool->lanes());
  int64_t begin = 0;
  while (begin < step.tiles) {
    if (pacer.Due(tile_ns) && !pacer.Reach()) return false;
    // Lanes work side by side, so a piece may hold that many more tiles.
    int64_t count = pacer.Fit(tile_ns / lanes);
    count = std::min(count, step.tiles - begin);
    RunTiles(step, block, {begin, begin + count}, tile_ns, pool);
    pacer.Spend(tile_ns * static_cast<double>(count) / lanes);
    begin += count;
  }
  return true;
}

}  // namespace

base::Status Execute(const Plan& plan, const ExecuteArgs& args) {
  CHECK(!plan.interpreted);
  CHECK_EQ(args.inputs.size(), plan.input_shapes.size());
  CHECK_EQ(args.outputs.size(), plan.output_shapes.size());
  CHECK_GE(args.memory_bytes, plan.memory_bytes);
  std::byte* const scratch = args.memory + plan.arena_bytes;
  RunState* const state = new (scratch) RunState();
  Bases bases{{args.memory, scratch, scratch + 128}, &args};
  static_assert(sizeof(RunState) <= 128);

  Pacer pacer(plan, args);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (step.tiles == 0) continue;
    Resolve(plan, step, bases);
    const std::byte* const block = bases.fixed[kArgumentsBase];
    int64_t begin_ns = 0;
    if (args.times != nullptr) begin_ns = base::SystemClock::Get().Now().ns;
    if (pacer.active()) {
      if (!RunPaced(step, block, args.pool, pacer))
        return base::Cancelled("the step was abandoned");
    } else {
      RunTiles(step, block, {0, step.tiles},
               static_cast<double>(step.predicted_ns) / static_cast<double>(step.tiles), args.pool);
    }
    if (args.times != nullptr) {
      args.times->begin_ns[i] = begin_ns;
      args.times->elapsed_ns[i] = base::SystemClock::Get().Now().ns - begin_ns;
    }
    if (step.checks_data && state->failed.load(std::memory_order_acquire) != 0) {
      return DataError(plan, i, *state);
    }
  }
  return base::Ok();
}

}  // namespace sluice::graph

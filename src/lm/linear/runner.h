// Runs kernels of a language model's step over a pool, in pieces between which the loop may run
// something more urgent.
#pragma once

#include <cstdint>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "engine/engine.h"
#include "kernels/work.h"

namespace sluice::lm {

// What one lane does, for cutting work into pieces; never what is computed.
struct LaneRates {
  double flops_per_ns = 40;
  double bytes_per_ns = 10;
};

// One step's run: one thread, for the time of Launch.
class Runner {
 public:
  struct Options {
    base::ThreadPool* pool = nullptr;        // null: this thread alone
    engine::Safepoint* safepoint = nullptr;  // null: nothing is asked in between
    LaneRates rates = {};
  };
  explicit Runner(Options options);

  // All tiles of a kernel, as its header describes it: Run(GemmTiles, Gemm, GemmWork(args), args).
  // `speedup`: how many times flops_per_ns its instructions reach. False: the step was abandoned,
  // and so is everything after it.
  template <class Args, class Tiles, class Kernel>
  [[nodiscard]] bool Run(Tiles tiles, Kernel kernel, kernels::Work work, const Args& args,
                         double speedup = 1) {
    return RunTiles(tiles(args), Predict(work, speedup),
                    [&](kernels::Tiles range) { kernel(args, range); });
  }
  // `whole_ns`: of all tiles on one lane.
  [[nodiscard]] bool RunTiles(int64_t tiles, double whole_ns,
                              base::FunctionRef<void(kernels::Tiles)> kernel);
  // The same with the lane, in [0, lanes()), that runs the tiles: for scratch memory of its own.
  [[nodiscard]] bool RunInLanes(int64_t tiles, double whole_ns,
                                base::FunctionRef<void(kernels::Tiles, int lane)> kernel);
  // Of the work on one lane, in ns.
  double Predict(kernels::Work work, double speedup) const;
  int lanes() const { return static_cast<int>(lanes_); }

 private:
  const Options options_;
  const double lanes_;
  const double quantum_ns_;
  double since_safepoint_ns_ = 0;
};

}  // namespace sluice::lm

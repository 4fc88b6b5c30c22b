#include "kernels/recurrent.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/recurrent.h"
#include "kernels/plan/gemm_plan.h"

namespace sluice::kernels {

int64_t RecurrentTiles(const RecurrentArgs& args) {
  const int64_t strip = StripRows(args.weight.target);
  return (args.batch + strip - 1) / strip;
}

void Recurrent(const RecurrentArgs& args, Tiles tiles) {
  CHECK_EQ(args.weight.k, args.hidden);
  const bool gru = args.cell == RecurrentCell::kGru;
  CHECK_EQ(args.weight.n, (gru ? 2 : RecurrentGates(args.cell)) * args.hidden);
  CHECK(!gru || (args.candidate.k == args.hidden && args.candidate.n == args.hidden));
  const int64_t count = RecurrentTiles(args);
  const auto run = SLUICE_PICK_ISA(args.weight.target, RunRecurrent);
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    // As equal as the batch allows.
    const auto begin = [&](int64_t t) {
      return t * (args.batch / count) + std::min(t, args.batch % count);
    };
    run(args, begin(tile), begin(tile + 1));
  }
}

Work RecurrentWork(const RecurrentArgs& args) {
  const int64_t steps = args.end - args.begin;
  const int64_t gates = RecurrentGates(args.cell) * args.hidden;
  const int64_t floats = gates * args.hidden + steps * args.batch * (gates + args.hidden);
  return {2 * steps * args.batch * gates * args.hidden, floats * 4};
}

int64_t RecurrentScratchFloats(const RecurrentArgs& args) {
  return args.batch * (RecurrentGates(args.cell) + 1) * args.hidden;
}

}  // namespace sluice::kernels

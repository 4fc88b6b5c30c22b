// The per-target entry point of the elementwise chains and what the plan hands it.
#pragma once

#include "kernels/chain.h"
#include "kernels/cpu/isa.h"

namespace sluice::kernels {

// Elements of one trip through all steps; every buffer is this long, a multiple of every vector.
inline constexpr int64_t kChainTile = 512;
// Trips of one tile of the interface: enough to hide the call.
inline constexpr int64_t kChainTrips = 16;

// The index space with everything merged that all inputs and outputs allow. A trip covers
// `trip_rows` whole rows, or where that is 1 a segment of one row.
struct ChainPlan {
  int64_t outer = 1;
  int64_t rows = 1;
  int64_t columns = 0;
  ChainInput inputs[kChainInputs];
  ChainInput output;  // the strides of all outputs
  int64_t trip_rows = 1;
  int64_t trips_per_row = 1;    // trip_rows == 1: segments of a row
  int64_t trips_per_outer = 1;  // trips of one index of `outer`
};

SLUICE_DECLARE_ISA(void RunChainTrips(const ChainArgs& args, const ChainPlan& plan, int64_t begin,
                                      int64_t end))

}  // namespace sluice::kernels

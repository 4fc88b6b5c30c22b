// Roofs of one core, measured now: what a kernel could reach at best. For benches and profiles,
// which measure them between their own rounds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/low_path.h"

namespace sluice::kernels {

// GFLOP/s of the active target's f32 multiply-adds, over about a millisecond of this thread's
// processor time.
double MultiplyAddRoof();

// GFLOP/s (for integers GOP/s) of the instructions that `path` runs on here, which this machine
// must have: for kVnni those of AMX where the machine has it.
double LowPathRoof(LowPath path);

// Reads `bytes`, whole 256 of them, in order and does nothing with them.
void ReadMemory(const std::byte* from, int64_t bytes);

// GB/s of reading `bytes` (at least 256) over and over; 0 below that. Keeps its memory for the next
// call: one thread.
double ReadRoof(int64_t bytes);

}  // namespace sluice::kernels

// The roofs of one core of this machine: arithmetic, and reading at each level of the memory
// hierarchy.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/low_path.h"

namespace sluice::report {

struct MemoryLevel {
  std::string_view name;  // "L1", "L2", "L3", "memory"
  int64_t bytes = 0;  // what is read from it when this much is read again and again; memory: all
  double gbytes = 0;  // GB/s
};

struct Roofs {
  double gflops = 0;  // f32 multiply-adds
  // Of the dot products that bf16 and int8 layers run on here, by kernels::LowPath; 0: not
  // measured.
  std::array<double, kernels::kLowPathCount> dots_gflops = {};
  std::vector<MemoryLevel> levels;  // nearest first; never empty once measured

  // The level that serves traffic of this footprint.
  const MemoryLevel& LevelOf(int64_t bytes) const;
};

// Takes about 50 ms of this thread.
Roofs MeasureRoofs();

}  // namespace sluice::report

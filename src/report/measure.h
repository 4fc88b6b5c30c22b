// Runs a plan on one thread and times every step.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "report/opened_model.h"

namespace sluice::report {

struct Timing {
  std::vector<int64_t> begin_ns;   // of the last run, by step
  std::vector<int64_t> median_ns;  // by step
  int64_t total_ns = 0;            // sum of the medians
  int64_t runs = 0;
};

// On the inputs of SyntheticInputs, after one run that is not counted. kUnimplemented for a model
// that the interpreter runs: it has no steps.
base::Result<Timing> Measure(const Opened& opened, int64_t runs);

}  // namespace sluice::report

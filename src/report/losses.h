// Divides the time of each step into work at the roof and named losses, and gathers the losses of
// the whole model.
#pragma once

#include <vector>

#include "report/flow.h"
#include "report/report.h"

namespace sluice::report {

// What traffic a fusion with the step's producer would have saved: unfused_bytes and unfused_why.
// Before DivideTime.
void FindUnfused(const graph::Plan& plan, const std::vector<StepFlow>& flows,
                 const std::vector<graph::NearMiss>& near_misses, std::vector<StepRow>& steps);

struct LossContext {
  const graph::Plan* plan = nullptr;
  const std::vector<StepFlow>* flows = nullptr;
  const Roofs* roofs = nullptr;
  double padding = 0;  // of the rows of steps that have the length, 0 to 1
  int64_t length = 0;
  double mean_length = 0;
};
// Fills lost_us of a step whose us, roof_us and unfused_bytes are known.
void DivideTime(const LossContext& context, size_t index, StepRow& step);

// Like losses together, largest first.
std::vector<Loss> GatherLosses(const LossContext& context, const std::vector<StepRow>& steps);

}  // namespace sluice::report

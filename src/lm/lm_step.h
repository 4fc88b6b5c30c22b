// A step of LmEngine, for the parts of its implementation.
#pragma once

#include <algorithm>
#include <vector>

#include "lm/lm_engine.h"
#include "lm/task/readings.h"

namespace sluice::lm {

// What a step computes and reads. The groups that it points to stay until it is committed.
struct LmEngine::LmStep : engine::Step {
  LmStep(const Decoder* decoder, int64_t logits_max) : readings(decoder, logits_max) {}
  bool wanted(base::Time now) const override {
    return probe || std::any_of(groups.begin(), groups.end(), [&](const Group* group) {
             return !group->call().cancelled() && !group->call().expired(now);
           });
  }

  Scheduler::Plan plan;
  std::vector<Group*> groups;  // whose sequences are among the members
  Readings readings;
};

}  // namespace sluice::lm

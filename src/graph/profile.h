// Runs a plan and tells where its time goes, step by step: text, JSON, and a trace for Chrome's
// viewer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/model.h"

namespace sluice::graph {

// Measured steps of a plan: the smallest time of each over the runs.
struct Profile {
  std::vector<int64_t> begin_ns;  // within the last run, from its first step
  std::vector<int64_t> elapsed_ns;
  int64_t run_ns = 0;  // the fastest whole run
  int64_t runs = 0;
};
// What this machine reaches at best on one core, for percentages; 0: not known.
struct Roof {
  double gflops = 0;
  double gbytes = 0;
};
// Runs the plan `runs` times on zeros (or `inputs` where given). Allocates its own memory.
base::Result<Profile> ProfilePlan(const Model& model, const Plan& plan,
                                  std::span<const tensor::Tensor> inputs, int64_t runs,
                                  base::ThreadPool* pool);
std::string ProfileText(const Plan& plan, const Profile& profile, const Roof& roof);
std::string ProfileJson(const Plan& plan, const Profile& profile, const Roof& roof);
// The Trace Event format: load it in chrome://tracing or Perfetto.
std::string ProfileTrace(const Plan& plan, const Profile& profile);

}  // namespace sluice::graph

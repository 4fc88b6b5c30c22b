// Which step feeds which, and what a step reads: the plan's data flow over steps, seen through the
// nodes that cost nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/model.h"
#include "graph/program.h"

namespace sluice::report {

// A small set of interface tensors by index; those beyond 63 share the last place.
using InterfaceSet = uint64_t;
inline InterfaceSet InterfaceBit(size_t index) {
  return InterfaceSet{1} << (index < 63 ? index : 63);
}

// Rows of a constant table read by index.
struct TableRead {
  const graph::Value* table = nullptr;
  int64_t look_ups = 0;
  int64_t bytes() const;  // of the table
};

struct StepFlow {
  int producer = -1;              // the step that wrote most of what this one reads; -1: none
  int64_t read_bytes = 0;         // of what it reads from there
  std::vector<int> readers;       // steps that read what this one writes, ascending
  bool is_output = false;         // the caller reads it, too
  InterfaceSet inputs = 0;        // the model inputs whose data it depends on
  InterfaceSet outputs = 0;       // the model outputs that depend on it
  std::vector<TableRead> tables;  // looked up by index
  int64_t weight_bytes = 0;       // constants that it reads whole
  bool has_length = false;        // an axis before the last of its output has the extent told
};

// One entry a step of `plan`. `length`: the extent that `has_length` looks for; 0: none.
std::vector<StepFlow> FollowSteps(const graph::Plan& plan, int64_t length);

// Weights of linear layers that are kept in fewer bits than f32, each once.
struct LowWeight {
  std::string form;  // "bf16", "int8", …
  int64_t bytes = 0;
};
std::vector<LowWeight> LowWeights(const graph::Plan& plan);

// The steps' module in the exporter's program, from the scopes in node names or, where exporters
// write none, from the names of weights: "blocks.0", "tower". "" where neither tells.
std::vector<std::string> LayerNames(const graph::Plan& plan);

}  // namespace sluice::report

// A request made ready for the loop: its tensors in the graph's order, its rows, which requests it
// may join. Made on an io thread by Engine::Prepare.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "graph/program.h"
#include "infer/served_model.h"

namespace sluice::infer {

struct PreparedRequest : engine::Prepared {
  std::vector<tensor::Tensor> inputs;  // in the graph's order
  std::vector<tensor::Shape> shapes;
  std::vector<int> outputs;                 // those asked for, by index
  std::shared_ptr<const graph::Plan> plan;  // for these rows, or for as many as fit into the memory
  int64_t rows = 1;                         // of dimension 0; 1 when the model joins nothing
  int64_t plan_rows = 1;
  uint64_t shape = 0;      // requests of equal value may share a step
  bool truncated = false;  // a text was cut to the model's limit
};

// Checks names, types and shapes against the model, tokenises, plans, and sets request.rows.
// kInvalidArgument: the client's fault, saying what was expected and what came.
base::Status PrepareRequest(const ServedModel& served, engine::Request& request);

// Whether two requests' inputs differ in their rows alone, so that they may share a step.
bool SameShapeApartFromRows(const ServedModel& served, const std::vector<tensor::Shape>& a,
                            const std::vector<tensor::Shape>& b);
// Shapes of `rows` rows of the same request.
std::vector<tensor::Shape> WithRows(const std::vector<tensor::Shape>& shapes, int64_t rows);
// The plan for as many of `rows` rows as fit into the slot's memory; sets `rows` to that number.
base::Result<std::shared_ptr<const graph::Plan>> PlanRows(const ServedModel& served,
                                                          const std::vector<tensor::Shape>& shapes,
                                                          int64_t& rows);
// Bytes that a run of `plan` needs: its own and the inputs that are gathered beside it.
int64_t RunBytes(const ServedModel& served, const graph::Plan& plan);

}  // namespace sluice::infer

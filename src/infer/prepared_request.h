// A request made ready for the loop: its tensors in the graph's order, its rows, which requests it
// may join. Made on an io thread by Engine::Prepare.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "infer/plan_family.h"
#include "infer/served_model.h"

namespace sluice::infer {

struct PreparedRequest : engine::Prepared {
  std::vector<tensor::Tensor> inputs;  // in the graph's order
  std::vector<tensor::Shape> shapes;
  std::vector<int> outputs;  // those asked for, by index
  // The answer but for its bytes, so that Commit allocates nothing: outputs as asked for (their
  // shapes are set by Complete) and notices.
  std::vector<tensor::NamedTensor> answer;
  engine::Parameters notices;
  std::shared_ptr<PlanFamily> family;  // null: the interpreter runs it
  bool complete = false;
  int64_t rows = 1;              // of dimension 0; 1 when the model joins nothing
  uint64_t shape = 0;            // requests of equal value may share a step
  std::vector<int32_t> lengths;  // tokens of each row when it runs without its padding, else empty
  std::vector<int64_t> answer_offsets;  // of each output asked for, in the step's memory; then too
  bool truncated = false;               // a text was cut to the model's limit
};

// Checks names, types and shapes against the model, tokenises, and sets request.rows. Where the
// model has a planner, plans that are missing are left to it: the family is then kNew, and shapes
// that the model's nodes do not take are found by Complete. kInvalidArgument: the client's fault,
// saying what was expected and what came.
base::Status PrepareRequest(const ServedModel& served, engine::Request& request);
// Once the family is not kNew any more: checks the answer's size and sets its shapes. Errors as
// above.
base::Status Complete(const ServedModel& served, PreparedRequest& prepared);

// Whether two requests' inputs differ in their rows alone, so that they may share a step.
bool SameShapeApartFromRows(const ServedModel& served, const std::vector<tensor::Shape>& a,
                            const std::vector<tensor::Shape>& b);

}  // namespace sluice::infer

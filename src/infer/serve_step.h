// A step of an imported graph: the requests that it joins, the plans that run their rows, and the
// memory of their answers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "infer/prepared_request.h"
#include "infer/served_model.h"
#include "tensor/buffer_pool.h"

namespace sluice::infer {

// A row of a request that runs without its padding.
struct SequenceAt {
  int32_t member = 0;
  int32_t length = 0;
  int64_t row = 0;  // of the member
};
// A run of a ragged plan: sequences [first, first + count) of the step.
struct RaggedPart {
  const graph::Plan* plan = nullptr;
  int64_t size = 0;  // rows that the plan holds
  int64_t rows = 0;  // rows that the sequences have
  int64_t first = 0;
  int64_t count = 0;
};

struct ServeStep : engine::Step {
  bool wanted(base::Time now) const override { return engine::AnyWanted(members, probe, now); }

  std::vector<std::unique_ptr<engine::Request>> members;
  std::vector<base::Status> member_status;  // of each, where they fail apart
  uint64_t shape = 0;
  int64_t units = 0;                    // that the cost model counts
  int64_t row_count = 0;                // of all members, 1 where dimension 0 is no batch
  const PlanFamily* family = nullptr;   // the first member's; null: the interpreter runs them
  std::vector<Part> parts;              // the plans that run all rows
  std::shared_ptr<std::byte> answer;    // the outputs of all rows, one behind the other
  std::vector<int64_t> answer_offsets;  // of each output
  std::vector<int64_t> row_bytes;       // of each output, per row
  std::vector<std::vector<tensor::Tensor>>
      interpreted;  // outputs of each member, when the interpreter ran

  bool ragged = false;  // all members run without their padding: ragged_step.h
  std::vector<SequenceAt> sequences;
  std::vector<RaggedPart> ragged_parts;

  // Work space of Launch, sized by MakeStep and Form so that Launch allocates nothing.
  std::vector<Part> member_parts;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  std::vector<const void*> ragged_inputs;
  std::vector<RaggedPart> member_ragged_parts;
};

// Chooses plans for the members' rows among those that are there, and takes the memory of their
// answers from the pool.
base::Status FormStep(const ServedModel& served, tensor::BufferPool& answers, ServeStep& step);
// Runs the step in the slot's memory. Leaves step.status, or member_status where one request's data
// was wrong.
void RunStep(const ServedModel& served, ServeStep& step, engine::Exec& exec,
             engine::Safepoint& safepoint);
// The outputs that member `index`, whose rows begin at row `first`, asked for; they share the
// step's memory. Takes prepared.answer.
struct MemberAt {
  size_t index = 0;
  int64_t first = 0;
};
std::vector<tensor::NamedTensor> AnswerOf(const ServedModel& served, const ServeStep& step,
                                          PreparedRequest& prepared, MemberAt member);
// Bytes that a run of `plan` needs: its own and the inputs that are gathered beside it.
int64_t RunBytes(const ServedModel& served, const graph::Plan& plan);

inline const PreparedRequest& PreparedOf(const engine::Request& request) {
  return static_cast<const PreparedRequest&>(*request.prepared);
}
inline PreparedRequest& MutablePreparedOf(engine::Request& request) {
  return static_cast<PreparedRequest&>(*request.prepared);
}

}  // namespace sluice::infer

// Requests without their padding: which requests may run so, and a step that runs them as packed
// rows, whatever their lengths.
#pragma once

#include "infer/serve_step.h"

namespace sluice::infer {

// The shape key that all requests without padding share.
inline constexpr uint64_t kRaggedShape = 0x5261676765642121u;

// Sets prepared.lengths when the model has a ragged form and the request's mask tells padding at
// the end of its rows alone, at least one token in each; then the answer's shapes are set as well
// and the request is complete. Otherwise it is left as it is, to run padded. kInvalidArgument: the
// answer would be too large.
base::Status PrepareRagged(const ServedModel& served, PreparedRequest& prepared);

// As FormStep and RunStep, for members that all have lengths.
base::Status FormRagged(const ServedModel& served, tensor::BufferPool& answers, ServeStep& step);
void RunRagged(const ServedModel& served, ServeStep& step, engine::Exec& exec,
               engine::Safepoint& safepoint);
// The answer's tensors share the step's memory; per-token outputs are 0 at padding. Takes
// prepared.answer.
std::vector<tensor::NamedTensor> RaggedAnswerOf(const ServeStep& step, PreparedRequest& prepared);

}  // namespace sluice::infer

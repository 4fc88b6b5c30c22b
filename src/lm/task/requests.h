// The tasks of a decoder: which one a request asks for, and the group that answers it.
#pragma once

#include <memory>

#include "base/result.h"
#include "engine/request.h"
#include "lm/language_model.h"
#include "lm/task/group.h"

namespace sluice::lm {

// Reads the request; its `prepared` is an Asked of its task then, or its `answer` is there at once.
// kInvalidArgument says what was expected and what came.
base::Status PrepareRequest(const LanguageModel& model, engine::Request& request);
// For a request that has been prepared.
std::unique_ptr<Group> MakeGroup(const LanguageModel& model,
                                 std::unique_ptr<engine::Request> request);

}  // namespace sluice::lm

// The tasks of a decoder: which one a request asks for, and the group that answers it.
#pragma once

#include "base/result.h"
#include "engine/request.h"
#include "lm/language_model.h"

namespace sluice::lm {

// Reads the request; its `prepared` is the Group of its task then, or its `answer` is there at
// once. kInvalidArgument says what was expected and what came.
base::Status PrepareRequest(const LanguageModel& model, engine::Request& request);

}  // namespace sluice::lm

// Prompts of an embedding model, put before texts by the name that a request gives.
#pragma once

#include <string>

#include "base/result.h"
#include "lm/encoder/sentence_modules.h"
#include "lm/request_fields.h"

namespace sluice::lm {

// The prompt that the parameter names, or the model's default; empty: none. kInvalidArgument lists
// the names that there are.
base::Result<std::string> ReadNamedPrompt(const char* parameter, const SentenceModules& modules,
                                          ParameterReader& reader);

}  // namespace sluice::lm

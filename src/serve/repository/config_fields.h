// What this server does with each field of a model's configuration. A field that is not in the
// table is refused.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "serve/proto/inference.pb.h"

namespace sluice::serve {

// Walks every field that is set. Returns one notice for each that is accepted without effect;
// kUnimplemented names the first that is refused.
base::Result<std::vector<std::string>> CheckConfigFields(const inference::ModelConfig& config);

}  // namespace sluice::serve

// Synthetic requests that a freshly loaded model must answer before it counts as ready.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "engine/version.h"
#include "serve/repository/model_settings.h"

namespace sluice::serve {

// On the load thread; waits for the answers. Runs the configured requests, or one of the model's
// own interface when there are none. `warmup_folder` is <model>/warmup, where files of values lie.
base::Status WarmUp(const std::shared_ptr<const engine::EngineVersion>& version,
                    const ModelSettings& settings, const std::string& model_folder);

}  // namespace sluice::serve

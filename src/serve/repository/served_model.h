// A model version that answers requests: what a request pins while it runs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "engine/version.h"
#include "serve/repository/model_settings.h"

namespace inference {
class ModelConfig;
}

namespace sluice::serve {

// Immutable once published, except for its counter.
struct ServedModel {
  std::string name;
  int64_t version = 0;
  std::string version_text;
  std::shared_ptr<const engine::EngineVersion> engine;
  std::shared_ptr<const inference::ModelConfig> config;  // as given, completed from the model
  ModelSettings settings;
  // Requests refused before they were submitted: the client's faults. The engine counts the rest.
  mutable base::Counter malformed;

  // What the engine had counted when the version was published: its warm-up is nobody's request.
  engine::Statistics::Snapshot at_start;
  // What was counted since then.
  engine::Statistics::Snapshot Counts() const;

  const engine::Description& description() const { return engine->description(); }
};

}  // namespace sluice::serve

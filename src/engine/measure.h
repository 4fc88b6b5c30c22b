// Measure: a number or a distribution that an engine publishes of itself, beside the statistics
// that every engine has. Pages show what they find, so that nobody but the engine knows its names.
#pragma once

#include <memory>
#include <string>

#include "base/metrics.h"

namespace sluice::engine {

// Fixed once its engine is made; only what it points to changes, by the lease holder and without a
// lock. Exactly one of the three pointers is set, of the same kind in all measures of a name.
struct Measure {
  std::string name;  // of a family, as Prometheus takes it
  std::string help;
  base::Labels labels = {};  // beside those that tell model and version; nothing needs an escape
  // The label that carries the model's name. Measures under the names of another server have its.
  const char* model_label = "model";
  std::shared_ptr<const base::Counter> counter = nullptr;
  std::shared_ptr<const base::Gauge> gauge = nullptr;
  std::shared_ptr<const base::Histogram> histogram = nullptr;
};

}  // namespace sluice::engine

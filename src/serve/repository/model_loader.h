// How the server gets an engine for a model version. bin/ implements it over the engines; tests
// with fakes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/version.h"
#include "serve/repository/model_settings.h"

namespace sluice::serve {

// One version to load.
struct ModelSource {
  std::string name;
  int64_t version = 0;
  std::string model_folder;    // <repository>/<name>
  std::string version_folder;  // <repository>/<name>/<version>
  std::string
      model_file;  // inside version_folder, "model.onnx" unless the configuration names another
  std::string platform;  // as the configuration says it; may be empty
  ModelSettings settings;
};

// Called on the load thread only, one call at a time.
class ModelLoader {
 public:
  virtual ~ModelLoader() = default;
  // Loads the model and attaches it to its loop: engine::EngineVersion::Create with this `retire`,
  // which brings the version back to the load thread when nobody pins it any more.
  virtual base::Result<std::shared_ptr<const engine::EngineVersion>> Load(
      const ModelSource& source, engine::EngineVersion::Retire retire) = 0;
};

}  // namespace sluice::serve

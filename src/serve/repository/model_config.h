// config.pbtxt: read within bounds, every field honoured, accepted with a notice, or refused by
// name. Never ignored.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/description.h"
#include "serve/proto/inference.pb.h"
#include "serve/repository/model_settings.h"

namespace sluice::serve {

// A configuration larger than this is refused.
inline constexpr int64_t kConfigBytesMax = 1 << 20;

// The text form, as in config.pbtxt, and the JSON form, as in load requests. kInvalidArgument with
// line and column.
base::Result<inference::ModelConfig> ParseConfigText(std::string_view text);
base::Result<inference::ModelConfig> ParseConfigJson(std::string_view json);

// What a configuration means here.
struct ConfigReading {
  ModelSettings settings;
  VersionChoice versions;
  std::string model_file = "model.onnx";
  std::string platform;
  std::vector<std::string> notices;  // "field: why it changes nothing here", one a field
};
// kInvalidArgument or kUnimplemented naming the field. `folder_name` is what the model's folder is
// called.
base::Result<ConfigReading> ReadConfig(const inference::ModelConfig& config,
                                       std::string_view folder_name);

// Whether what the configuration declares is what the model has.
base::Status CheckDeclared(const ModelSettings& settings, const engine::Description& description);

// Fills in what the configuration left open from the loaded model.
void CompleteConfig(const engine::Description& description, inference::ModelConfig& config);

}  // namespace sluice::serve

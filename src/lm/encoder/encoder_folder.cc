#include "lm/encoder/encoder_folder.h"

#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "lm/checkpoint/config_keys.h"
#include "lm/encoder/encoder_engine.h"

namespace sluice::lm {
namespace {

constexpr int64_t kConfigBytesMax = int64_t{16} << 20;

base::Result<std::string> ReadConfig(const std::string& folder) {
  return base::ReadFile(folder + "/config.json", kConfigBytesMax);
}

}  // namespace

bool HoldsEncoder(const std::string& folder) {
  const base::Result<std::string> config = ReadConfig(folder);
  if (!config.ok()) return false;
  base::JsonDocument document;
  const base::Result<base::JsonValue> root = document.Parse(*config);
  if (!root.ok() || !root->is_object()) return false;
  const base::Result<std::string> type = ConfigKeys(*root).Text("model_type", "");
  return type.ok() && IsEncoderFamily(*type);
}

base::Result<std::unique_ptr<engine::Engine>> LoadEncoder(const std::string& folder,
                                                          const EncoderLoadOptions& options) {
  const std::string config = TRY(ReadConfig(folder));
  EncoderModel model = TRY(LoadEncoderModel(folder, config, options.encoder));
  model.description.model = options.model;
  model.description.version = options.version;
  return std::unique_ptr<engine::Engine>(
      std::make_unique<EncoderEngine>(std::make_shared<const EncoderModel>(std::move(model))));
}

}  // namespace sluice::lm

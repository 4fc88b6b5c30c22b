#include "lm/model_folder.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "lm/hub_config.h"
#include "lm/lm_engine.h"
#include "lm/safetensors_checkpoint.h"

namespace sluice::lm {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kGenerationFile = "generation_config.json";
constexpr int64_t kConfigBytesMax = int64_t{16} << 20;

base::Result<bool> Holds(const std::string& folder, const char* name) {
  const std::vector<base::FolderEntry> entries = TRY(base::ListFolder(folder));
  return std::any_of(entries.begin(), entries.end(), [&](const base::FolderEntry& entry) {
    return !entry.is_folder && entry.name == name;
  });
}

base::Result<std::string> ReadText(const std::string& folder, const char* name) {
  return base::ReadFile(folder + "/" + name, kConfigBytesMax);
}

}  // namespace

bool HoldsLanguageModel(const std::string& folder) {
  const base::Result<bool> holds = Holds(folder, kConfigFile);
  return holds.ok() && *holds;
}

base::Result<std::unique_ptr<engine::Engine>> Load(const std::string& folder,
                                                   const LoadOptions& options) {
  const std::string config = TRY(ReadText(folder, kConfigFile));
  std::string generation;
  const bool has_generation = TRY(Holds(folder, kGenerationFile));
  if (has_generation) generation = TRY(ReadText(folder, kGenerationFile));
  HubConfig hub = TRY(ParseHubConfig(config, generation));
  const SafetensorsCheckpoint checkpoint = TRY(SafetensorsCheckpoint::Open(folder));
  Decoder decoder = TRY(Decoder::Load(checkpoint, hub.decoder, options.decoder));
  std::shared_ptr<const ModelText> text = TRY(ModelText::Load(folder, hub.decoder.vocabulary));
  LanguageModel model = TRY(MakeLanguageModel(std::move(decoder), std::move(text),
                                              std::move(hub.end_ids), options.serving));
  model.description.model = options.model;
  model.description.version = options.version;
  return std::unique_ptr<engine::Engine>(
      std::make_unique<LmEngine>(std::make_shared<const LanguageModel>(std::move(model))));
}

}  // namespace sluice::lm

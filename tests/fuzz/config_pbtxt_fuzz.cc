// config.pbtxt and its JSON form, down to what it means for a model.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "serve/repository/model_config.h"
#include "serve/repository/model_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  engine::Description description;
  description.model = "m";
  description.platform = "onnx";
  description.inputs = {{"X", tensor::DType::kF32, {-1, 4}, false}};
  description.outputs = {{"Y", tensor::DType::kF32, {-1, 4}, false}};
  description.batch_rows_max = 8;
  bool json = !text.empty() && text[0] == '{';
  base::Result<inference::ModelConfig> config =
      json ? serve::ParseConfigJson(text) : serve::ParseConfigText(text);
  if (!config.ok()) return 0;
  base::Result<serve::ConfigReading> reading = serve::ReadConfig(*config, "m");
  if (!reading.ok()) return 0;
  base::Status declared = serve::CheckDeclared(reading->settings, description);
  base::Result<std::vector<int64_t>> chosen = serve::ChooseVersions(reading->versions, {1, 2, 30});
  static_cast<void>(chosen.ok());
  if (!declared.ok()) return 0;
  serve::CompleteConfig(description, *config);
  return 0;
}

#include "bin/infer_loader.h"

#include <string>
#include <utility>

#include "base/log.h"
#include "infer/infer_engine.h"

namespace sluice::bin {
namespace {

// The key of config.pbtxt's parameters that says what linear layers keep their weights as.
constexpr const char* kWeightsParameter = "weights";

base::Result<infer::Options> OptionsFor(const serve::ModelSource& source,
                                        const std::string& weights) {
  const serve::ModelSettings& settings = source.settings;
  infer::Options options;
  options.model = source.name;
  options.version = source.version;
  options.model_file = source.model_file;
  options.batch_rows_max = settings.max_batch_size;
  options.queue_delay_max = settings.max_queue_delay;
  options.queue_requests_max = settings.queue_requests_max;
  if (settings.priority_levels > 0) {
    options.priority_levels = settings.priority_levels;
    options.priority_default = settings.default_priority > 0 ? settings.default_priority : 1;
  }
  const auto given = settings.parameters.find(kWeightsParameter);
  const std::string& form = given == settings.parameters.end() ? weights : given->second;
  if (!form.empty()) {
    base::Result<kernels::WeightForm> parsed = graph::ParseWeightForm(form);
    if (!parsed.ok()) {
      return base::InvalidArgument("parameter 'weights' of model '" + source.name +
                                   "': " + parsed.error().message);
    }
    options.compile.weights.emplace();
    options.compile.weights->form = *parsed;
  }
  return options;
}

}  // namespace

base::Result<std::shared_ptr<const engine::EngineVersion>> InferLoader::Load(
    const serve::ModelSource& source, engine::EngineVersion::Retire retire) {
  infer::Options options = TRY(OptionsFor(source, weights_));
  options.planner = &planner_;
  options.ledger = &ledger_;
  std::unique_ptr<engine::Engine> engine = TRY(infer::Load(source.version_folder, options));
  const int64_t weights = engine->memory().weights_bytes;
  const std::string owner =
      "model " + source.name + "/" + std::to_string(source.version) + " weights";
  // The reservation goes when the version is destroyed, after its last pin.
  tensor::Reservation reserved = TRY(ledger_.Reserve(owner, weights));
  auto reservation = std::make_shared<tensor::Reservation>(std::move(reserved));
  base::Log(base::LogLevel::kInfo, "model_memory")
      .With("model", source.name)
      .With("version", source.version)
      .With("weights_bytes", weights)
      .With("activation_bytes", engine->memory().activation_bytes)
      .With("batch", engine->description().batch_reason);
  return engine::EngineVersion::Create(
      std::move(engine), loop_,
      [reservation, retire = std::move(retire)](std::unique_ptr<engine::EngineVersion> version) {
        retire(std::move(version));
      });
}

}  // namespace sluice::bin

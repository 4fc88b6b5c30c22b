#include "bin/engine_loader.h"

#include <sys/stat.h>

#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "infer/infer_engine.h"
#include "lm/encoder/encoder_folder.h"
#include "lm/generation.h"
#include "lm/model_folder.h"

namespace sluice::bin {
namespace {

// The key of config.pbtxt's parameters that says what linear layers keep their weights as.
constexpr const char* kWeightsParameter = "weights";

// What a model's weights become, by name: as its settings say, else the server; empty: nothing
// said.
const std::string& WeightsOf(const serve::ModelSource& source, const std::string& weights) {
  const auto given = source.settings.parameters.find(kWeightsParameter);
  return given == source.settings.parameters.end() ? weights : given->second;
}

base::Error WrongWeights(const serve::ModelSource& source, const base::Error& error) {
  return base::InvalidArgument("parameter 'weights' of model '" + source.name +
                               "': " + error.message);
}

infer::Options OptionsFor(const serve::ModelSource& source, infer::Options options) {
  const serve::ModelSettings& settings = source.settings;
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
  return options;
}

// The same for a graph, which has fewer forms than a language model.
base::Result<infer::Options> GraphOptionsFor(const serve::ModelSource& source,
                                             const std::string& weights, infer::Options options) {
  options = OptionsFor(source, std::move(options));
  const std::string& form = WeightsOf(source, weights);
  if (form.empty()) return options;
  const base::Result<kernels::WeightForm> parsed = graph::ParseWeightForm(form);
  if (!parsed.ok()) return WrongWeights(source, parsed.error());
  options.compile.weights.emplace();
  options.compile.weights->form = *parsed;
  return options;
}

// A whole number of config.pbtxt's parameters, at least 1; `otherwise` where it is not given.
base::Result<int64_t> CountOf(const serve::ModelSource& source, const char* key,
                              int64_t otherwise) {
  const auto given = source.settings.parameters.find(key);
  if (given == source.settings.parameters.end()) return otherwise;
  int64_t value = 0;
  const std::string& text = given->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) {
    return base::InvalidArgument("parameter '" + std::string(key) + "' of model '" + source.name +
                                 "': expected a whole number, at least 1, got \"" + text + "\"");
  }
  return value;
}

// A text of config.pbtxt's parameters; empty where it is not given.
std::string TextOf(const serve::ModelSource& source, const char* key) {
  const auto given = source.settings.parameters.find(key);
  return given == source.settings.parameters.end() ? std::string() : given->second;
}

// The parameter `pooling` of config.pbtxt: what an embedding is made of.
base::Result<std::optional<lm::StatePooling>> PoolingOf(const serve::ModelSource& source) {
  const std::string pooling = TextOf(source, "pooling");
  if (pooling.empty()) return std::optional<lm::StatePooling>();
  if (pooling == "last") return std::optional(lm::StatePooling::kLast);
  if (pooling == "mean") return std::optional(lm::StatePooling::kMean);
  return base::InvalidArgument("parameter 'pooling' of model '" + source.name +
                               "': expected last or mean, got \"" + pooling + "\"");
}

// Whether a parameter that is one of two words is the second.
base::Result<bool> IsSecond(const serve::ModelSource& source, const char* key, const char* first,
                            const char* second, bool otherwise) {
  const auto given = source.settings.parameters.find(key);
  if (given == source.settings.parameters.end()) return otherwise;
  if (given->second == second) return true;
  if (given->second == first) return false;
  return base::InvalidArgument("parameter '" + std::string(key) + "' of model '" + source.name +
                               "': expected " + first + " or " + second + ", got \"" +
                               given->second + "\"");
}

// An engine and what is reserved for it besides its weights.
struct Loaded {
  std::unique_ptr<engine::Engine> engine;
  tensor::Reservation state;
};

base::Result<Loaded> LoadLanguageModel(const serve::ModelSource& source, const std::string& name,
                                       const std::string& weights, int priority_default,
                                       tensor::Ledger& ledger) {
  lm::LoadOptions options;
  options.model = source.name;
  options.version = source.version;
  if (source.model_file.ends_with(".gguf")) options.gguf_file = source.model_file;
  if (const std::string& form = WeightsOf(source, weights); !form.empty()) {
    const base::Result<lm::LinearForm> parsed = lm::LinearForm::Parse(form);
    if (!parsed.ok()) return WrongWeights(source, parsed.error());
    options.form = *parsed;
  }
  lm::LanguageModel::Options& serving = options.serving;
  serving.cache_bytes = TRY(CountOf(source, "kv_cache_bytes", serving.cache_bytes));
  serving.step_rows_max = TRY(CountOf(source, "step_tokens_max", serving.step_rows_max));
  serving.length_max = TRY(CountOf(source, "max_model_len", serving.length_max));
  serving.truncate_left =
      TRY(IsSecond(source, lm::kOverflow, lm::kRefuse, lm::kTruncateLeft, serving.truncate_left));
  serving.generation_defaults =
      TRY(IsSecond(source, "generation_defaults", "false", "true", serving.generation_defaults));
  serving.priority_default = priority_default;
  options.rerank_template = TextOf(source, "rerank_template");
  options.score_labels = TextOf(source, "score_labels");
  options.pooling = TRY(PoolingOf(source));
  Loaded loaded;
  loaded.state = TRY(ledger.Reserve(name + " keys and values", serving.cache_bytes));
  loaded.engine = TRY(lm::Load(source.version_folder, options));
  return loaded;
}

base::Result<Loaded> LoadEncoder(const serve::ModelSource& source, const infer::Options& given) {
  lm::EncoderLoadOptions options;
  options.model = source.name;
  options.version = source.version;
  lm::EncoderModel::Options& encoder = options.encoder;
  if (given.compile.weights.has_value()) encoder.form = given.compile.weights->form;
  encoder.step_rows_max = TRY(CountOf(source, "step_tokens_max", encoder.step_rows_max));
  encoder.length_max = TRY(CountOf(source, "max_model_len", encoder.length_max));
  encoder.priority_levels = given.priority_levels;
  encoder.priority_default = given.priority_default;
  if (given.queue_requests_max > 0) encoder.queue_requests_max = given.queue_requests_max;
  return Loaded{TRY(lm::LoadEncoder(source.version_folder, options)), {}};
}

// Bytes of the regular files in a version's folder.
int64_t FileBytes(const std::string& folder) {
  int64_t bytes = 0;
  const auto entries = base::ListFolder(folder);
  if (!entries.ok()) return 0;  // the loader says why
  for (const base::FolderEntry& entry : *entries) {
    struct stat file {};
    if (!entry.is_folder && stat((folder + "/" + entry.name).c_str(), &file) == 0) {
      bytes += file.st_size;
    }
  }
  return bytes;
}

// Clients read these messages too: where the repository lies is none of their business.
base::Error WithoutFolder(const serve::ModelSource& source, base::Error error) {
  const std::string shown = source.name + "/" + std::to_string(source.version);
  for (size_t at = error.message.find(source.version_folder); at != std::string::npos;
       at = error.message.find(source.version_folder, at + shown.size())) {
    error.message.replace(at, source.version_folder.size(), shown);
  }
  return error;
}

}  // namespace

base::Result<std::shared_ptr<const engine::EngineVersion>> EngineLoader::Load(
    const serve::ModelSource& source, engine::EngineVersion::Retire retire) {
  const std::string name = "model " + source.name + "/" + std::to_string(source.version);
  // While it loads, the weights stand beside what is made of them.
  const tensor::Reservation loading =
      TRY(ledger_.Reserve(name + " loading", FileBytes(source.version_folder)));
  const auto load = [&]() -> base::Result<Loaded> {
    if (lm::HoldsEncoder(source.version_folder)) {
      return LoadEncoder(source, TRY(GraphOptionsFor(source, weights_, defaults_)));
    }
    if (lm::HoldsLanguageModel(source.version_folder)) {
      const int priority_default = OptionsFor(source, defaults_).priority_default;
      return LoadLanguageModel(source, name, weights_, priority_default, ledger_);
    }
    const infer::Options options = TRY(GraphOptionsFor(source, weights_, defaults_));
    return Loaded{TRY(infer::Load(source.version_folder, options)), {}};
  };
  base::Result<Loaded> loaded = load();
  if (!loaded.ok()) return WithoutFolder(source, std::move(loaded).error());
  std::unique_ptr<engine::Engine> engine = std::move(loaded->engine);
  const int64_t weights = engine->memory().weights_bytes;
  // The reservation goes when the version is destroyed, after its last pin.
  tensor::Reservation reserved = TRY(ledger_.Reserve(name + " weights", weights));
  auto reservation = std::make_shared<std::pair<tensor::Reservation, tensor::Reservation>>(
      std::move(reserved), std::move(loaded->state));
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

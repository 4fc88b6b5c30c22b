#include "lm/model_folder.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "lm/checkpoint/gguf_checkpoint.h"
#include "lm/checkpoint/gguf_config.h"
#include "lm/checkpoint/gguf_text.h"
#include "lm/checkpoint/hub_config.h"
#include "lm/checkpoint/llama2c.h"
#include "lm/checkpoint/safetensors_checkpoint.h"
#include "lm/encoder/sentence_modules.h"
#include "lm/lm_engine.h"
#include "lm/task/text_task.h"

namespace sluice::lm {
namespace {

constexpr const char* kModulesFile = "modules.json";
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

// Of sentence-transformers: the model gives embeddings, and nothing else is asked of it.
base::Status ReadPooling(const std::string& folder, DecoderConfig& decoder,
                         LanguageModel::Options& serving) {
  SentenceModules modules = TRY(ReadSentenceModules(folder));
  const bool last = modules.pooling == std::vector<PoolingMode>{PoolingMode::kLast};
  const bool mean = modules.pooling == std::vector<PoolingMode>{PoolingMode::kMean};
  if (!modules.dense.empty() || (!last && !mean)) {
    return base::Unimplemented(
        std::string(kModulesFile) +
        ": of decoders the last token's state and the mean are built, without a Dense module");
  }
  decoder.has_head = false;
  serving.embeds = true;
  serving.pooling = last ? StatePooling::kLast : StatePooling::kMean;
  serving.normalize = modules.normalize;
  serving.modules = std::make_shared<const SentenceModules>(std::move(modules));
  return base::Ok();
}

}  // namespace

namespace {

// The folder's llama2.c checkpoint: its only .bin, but for a tokenizer's, where neither a graph nor
// a config.json is beside it. Empty when there is none.
base::Result<std::string> FindLlama2c(const std::string& folder) {
  const std::vector<base::FolderEntry> entries = TRY(base::ListFolder(folder));
  std::string found;
  for (const base::FolderEntry& entry : entries) {
    const std::string_view name = entry.name;
    if (entry.is_folder || name.starts_with("tok")) continue;
    if (name.ends_with(".onnx") || name == kConfigFile) return std::string();
    if (!name.ends_with(".bin")) continue;
    if (!found.empty()) return std::string();
    found = name;
  }
  return found;
}

// The folder's GGUF file, or the first part of one; empty when there is none. kInvalidArgument when
// there are several models.
base::Result<std::string> FindGguf(const std::string& folder) {
  constexpr std::string_view kSuffix = ".gguf";
  constexpr std::string_view kPart = "-00001-of-";
  const std::vector<base::FolderEntry> entries = TRY(base::ListFolder(folder));
  std::vector<std::string> names;
  bool first = false;
  for (const base::FolderEntry& entry : entries) {
    if (entry.is_folder || !std::string_view(entry.name).ends_with(kSuffix)) continue;
    // Sorted by name: the first part comes first, and brings the others with it.
    const size_t part = entry.name.size() > 19 ? entry.name.size() - 20 : 0;
    if (first && entry.name.compare(0, part, names[0], 0, part) == 0) continue;
    if (names.empty()) first = entry.name.find(kPart) != std::string::npos;
    names.push_back(entry.name);
  }
  if (names.empty()) return std::string();
  if (names.size() == 1) return names[0];
  return base::InvalidArgument("expected one model in the folder, got " + names[0] + " and " +
                               names[1]);
}

base::Error Within(const std::string& file, base::Error error) {
  error.message = file + ": " + error.message;
  return error;
}

base::Result<DecoderSources> OpenGguf(const std::string& folder, const std::string& file) {
  const auto open = [&]() -> base::Result<DecoderSources> {
    auto gguf = std::make_shared<const tensor::Gguf>(TRY(tensor::Gguf::Open(folder + "/" + file)));
    DecoderSources sources;
    sources.decoder = TRY(ReadGgufConfig(*gguf));
    sources.end_ids = TRY(ReadGgufEndIds(*gguf, sources.decoder.vocabulary));
    sources.text = TRY(ReadGgufText(*gguf, sources.decoder.vocabulary));
    sources.form = LinearForm::Stored();
    sources.checkpoint = std::make_unique<GgufCheckpoint>(std::move(gguf));
    return sources;
  };
  base::Result<DecoderSources> sources = open();
  if (!sources.ok()) return Within(file, std::move(sources).error());
  return sources;
}

base::Result<DecoderSources> OpenLlama2c(const std::string& folder, const std::string& file) {
  Llama2cCheckpoint checkpoint = TRY(Llama2cCheckpoint::Open(folder + "/" + file));
  DecoderSources sources;
  sources.decoder = checkpoint.config();
  // Either ends a text there: the next one begins behind <s>.
  for (const int32_t id : {1, 2}) {
    if (id < sources.decoder.vocabulary) sources.end_ids.push_back(id);
  }
  sources.text = TRY(ModelText::Load(folder, sources.decoder.vocabulary));
  sources.checkpoint = std::make_unique<Llama2cCheckpoint>(std::move(checkpoint));
  return sources;
}

base::Result<DecoderSources> OpenHub(const std::string& folder) {
  const std::string config = TRY(ReadText(folder, kConfigFile));
  std::string generation;
  const bool has_generation = TRY(Holds(folder, kGenerationFile));
  if (has_generation) generation = TRY(ReadText(folder, kGenerationFile));
  HubConfig hub = TRY(ParseHubConfig(config, generation));
  DecoderSources sources;
  sources.decoder = std::move(hub.decoder);
  sources.end_ids = std::move(hub.end_ids);
  sources.sampling = hub.sampling;
  sources.checkpoint =
      std::make_unique<SafetensorsCheckpoint>(TRY(SafetensorsCheckpoint::Open(folder)));
  sources.text = TRY(ModelText::Load(folder, sources.decoder.vocabulary));
  return sources;
}

}  // namespace

bool HoldsLanguageModel(const std::string& folder) {
  const base::Result<bool> holds = Holds(folder, kConfigFile);
  if (holds.ok() && *holds) return true;
  const base::Result<std::string> gguf = FindGguf(folder);
  if (!gguf.ok() || !gguf->empty()) return true;
  const base::Result<std::string> llama2c = FindLlama2c(folder);
  return llama2c.ok() && !llama2c->empty();
}

base::Result<DecoderSources> OpenDecoderFolder(const std::string& folder,
                                               const std::string& gguf_file) {
  const std::string gguf = gguf_file.empty() ? TRY(FindGguf(folder)) : gguf_file;
  if (!gguf.empty()) return OpenGguf(folder, gguf);
  const std::string llama2c = TRY(FindLlama2c(folder));
  return llama2c.empty() ? OpenHub(folder) : OpenLlama2c(folder, llama2c);
}

base::Result<std::unique_ptr<engine::Engine>> Load(const std::string& folder,
                                                   const LoadOptions& options) {
  DecoderSources sources = TRY(OpenDecoderFolder(folder, options.gguf_file));
  LanguageModel::Options serving = options.serving;
  const bool is_embedding = TRY(Holds(folder, kModulesFile));
  if (is_embedding) TRY(ReadPooling(folder, sources.decoder, serving));
  serving.pooling = options.pooling.value_or(serving.pooling);
  Decoder::Options decoder_options;
  decoder_options.form = options.form.value_or(sources.form);
  decoder_options.cache_type = options.cache_type;
  decoder_options.length_max = options.serving.length_max;
  Decoder decoder = TRY(Decoder::Load(*sources.checkpoint, sources.decoder, decoder_options));
  LanguageModel model = TRY(MakeLanguageModel(std::move(decoder), std::move(sources.text),
                                              std::move(sources.end_ids), serving));
  if (serving.generation_defaults) model.limits.sampling = sources.sampling;
  model.description.model = options.model;
  model.description.version = options.version;
  if (model.text != nullptr) DescribeTextTasks(model.description);
  if (!options.rerank_template.empty()) {
    if (model.text == nullptr) {
      return base::InvalidArgument("rerank_template: the folder has no tokenizer.json");
    }
    model.rerank = TRY(MakeRerankForm(options.rerank_template, options.score_labels, *model.text));
  }
  return std::unique_ptr<engine::Engine>(
      std::make_unique<LmEngine>(std::make_shared<const LanguageModel>(std::move(model))));
}

}  // namespace sluice::lm

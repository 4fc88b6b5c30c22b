#include "lm/encoder/sentence_modules.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/files.h"
#include "base/json.h"
#include "lm/checkpoint/config_keys.h"

namespace sluice::lm {
namespace {

using base::JsonValue;

constexpr int64_t kFileBytesMax = int64_t{4} << 20;
constexpr size_t kModulesMax = 32;
constexpr size_t kPromptsMax = 256;

struct NamedMode {
  const char* name;   // since sentence-transformers 6
  const char* older;  // a flag before that
  PoolingMode mode;
};
// In the order in which several of them stand side by side.
constexpr std::array<NamedMode, 6> kModes = {{
    {"cls", "pooling_mode_cls_token", PoolingMode::kFirst},
    {"max", "pooling_mode_max_tokens", PoolingMode::kMax},
    {"mean", "pooling_mode_mean_tokens", PoolingMode::kMean},
    {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", PoolingMode::kMeanSqrt},
    {"weightedmean", "pooling_mode_weightedmean_tokens", PoolingMode::kWeightedMean},
    {"lasttoken", "pooling_mode_lasttoken", PoolingMode::kLast},
}};

// A file of the folder as JSON; nothing when there is none.
class JsonFile {
 public:
  static base::Result<std::optional<JsonFile>> Open(const std::string& folder,
                                                    const std::string& name) {
    base::Result<std::string> text = base::ReadFile(folder + "/" + name, kFileBytesMax);
    if (!text.ok() && text.error().code == base::Code::kNotFound) return std::optional<JsonFile>();
    if (!text.ok()) return std::move(text).error();
    JsonFile file;
    file.name_ = name;
    base::Result<JsonValue> root = file.document_.Parse(*text);
    if (!root.ok()) return base::InvalidArgument(name + ": " + root.error().message);
    file.root_.emplace(*root);
    return std::optional<JsonFile>(std::move(file));
  }
  JsonValue root() const { return *root_; }
  ConfigKeys keys() const { return ConfigKeys(*root_, name_); }

 private:
  JsonFile() = default;
  base::JsonDocument document_;
  std::optional<JsonValue> root_;
  std::string name_;
};

base::Status AddMode(const std::string& file, std::string_view name, SentenceModules& out) {
  for (const NamedMode& mode : kModes) {
    if (name != mode.name) continue;
    out.pooling.push_back(mode.mode);
    return base::Ok();
  }
  return base::Unimplemented(file + ": pooling_mode \"" + std::string(name) +
                             "\"; cls, max, mean, mean_sqrt_len_tokens, weightedmean and "
                             "lasttoken are built");
}

base::Status ReadPooling(const std::string& folder, const std::string& path, SentenceModules& out) {
  const std::string name = path + "/config.json";
  std::optional<JsonFile> file = TRY(JsonFile::Open(folder, name));
  if (!file.has_value()) return base::InvalidArgument(name + ": expected the pooling's settings");
  const ConfigKeys keys = file->keys();
  out.pooling.clear();
  const std::optional<JsonValue> modes = TRY(keys.Find("pooling_mode"));
  if (modes.has_value() && modes->is_array()) {
    const auto read = [&](JsonValue mode) -> base::Status {
      if (out.pooling.size() >= kModes.size()) {
        return base::InvalidArgument(name + ": pooling_mode: expected at most " +
                                     std::to_string(kModes.size()));
      }
      const std::string_view mode_name = TRY(mode.AsString());
      return AddMode(name, mode_name, out);
    };
    TRY(modes->ForEachElement(read));
  } else if (modes.has_value()) {
    const std::string_view mode = TRY(modes->AsString());
    TRY(AddMode(name, mode, out));
  } else {
    for (const NamedMode& mode : kModes) {
      const bool used = TRY(keys.Bool(mode.older, false));
      if (used) out.pooling.push_back(mode.mode);
    }
  }
  if (out.pooling.empty()) out.pooling = {PoolingMode::kMean};
  out.pools_prompt = TRY(keys.Bool("include_prompt", true));
  return base::Ok();
}

base::Status ReadDense(const std::string& folder, const std::string& path, SentenceModules& out) {
  const std::string name = path + "/config.json";
  std::optional<JsonFile> file = TRY(JsonFile::Open(folder, name));
  if (!file.has_value()) return base::InvalidArgument(name + ": expected the layer's settings");
  const ConfigKeys keys = file->keys();
  SentenceModules::Dense dense;
  dense.folder = path;
  dense.inputs = TRY(keys.Size("in_features"));
  dense.outputs = TRY(keys.Size("out_features"));
  dense.bias = TRY(keys.Bool("bias", true));
  const bool residual = TRY(keys.Bool("use_residual", false));
  if (residual) return base::Unimplemented(name + ": use_residual");
  const std::string activation =
      TRY(keys.Text("activation_function", "torch.nn.modules.activation.Tanh"));
  dense.activation = TRY(ParseModuleActivation(activation));
  out.dense.push_back(std::move(dense));
  return base::Ok();
}

// The names of modules by their class alone: where the class lives has changed more than once.
struct Module {
  std::string kind;
  std::string path;
};

base::Result<Module> ReadModule(JsonValue value) {
  const ConfigKeys keys(value, "modules.json");
  Module module;
  const std::string type = TRY(keys.Text("type", ""));
  module.kind = type.substr(type.rfind('.') + 1);
  module.path = TRY(keys.Text("path", ""));
  const bool plain = module.path.find('/') == std::string::npos && module.path != "..";
  if (!plain) {
    return base::InvalidArgument(
        "modules.json: path: expected a folder of the model's own, got \"" + module.path + "\"");
  }
  return module;
}

base::Status ReadModules(const std::string& folder, JsonValue root, SentenceModules& out) {
  std::vector<Module> modules;
  const auto read = [&](JsonValue value) -> base::Status {
    if (modules.size() >= kModulesMax) {
      return base::InvalidArgument("modules.json: expected at most " + std::to_string(kModulesMax) +
                                   " modules");
    }
    modules.push_back(TRY(ReadModule(value)));
    return base::Ok();
  };
  TRY(root.ForEachElement(read));
  out.normalize = false;
  bool pooled = false;
  for (const Module& module : modules) {
    if (out.normalize) {
      return base::Unimplemented("modules.json: a " + module.kind + " behind Normalize");
    }
    if (module.kind == "Transformer") {
      if (!module.path.empty()) {
        return base::Unimplemented("modules.json: a Transformer in a folder of its own, \"" +
                                   module.path + "\"");
      }
    } else if (module.kind == "Pooling") {
      TRY(ReadPooling(folder, module.path, out));
      pooled = true;
    } else if (module.kind == "Dense" && pooled) {
      TRY(ReadDense(folder, module.path, out));
    } else if (module.kind == "Normalize") {
      out.normalize = true;
    } else if (module.kind != "Dropout") {
      return base::Unimplemented("modules.json: a module " + module.kind +
                                 "; Transformer, Pooling, Dense, Normalize and Dropout are built");
    }
  }
  return base::Ok();
}

base::Status ReadPrompts(const ConfigKeys& keys, SentenceModules& out) {
  const std::optional<JsonValue> prompts = TRY(keys.Find("prompts"));
  if (prompts.has_value()) {
    const auto read = [&](std::string_view name, JsonValue text) -> base::Status {
      if (out.prompts.size() >= kPromptsMax) {
        return base::InvalidArgument("config_sentence_transformers.json: expected at most " +
                                     std::to_string(kPromptsMax) + " prompts");
      }
      out.prompts.emplace_back(name, TRY(text.AsString()));
      return base::Ok();
    };
    TRY(prompts->ForEachMember(read));
  }
  out.prompt_default = TRY(keys.Text("default_prompt_name", ""));
  const bool known = out.prompt_default.empty() ||
                     std::any_of(out.prompts.begin(), out.prompts.end(), [&](const auto& prompt) {
                       return prompt.first == out.prompt_default;
                     });
  if (!known) {
    return base::InvalidArgument(
        "config_sentence_transformers.json: default_prompt_name: there is no prompt \"" +
        out.prompt_default + "\"");
  }
  const std::string activation = TRY(keys.Text("activation_fn", ""));
  if (!activation.empty()) out.score_activation = TRY(ParseScoreActivation(activation));
  return base::Ok();
}

}  // namespace

base::Result<SentenceModules> ReadSentenceModules(const std::string& folder) {
  SentenceModules out;
  std::optional<JsonFile> modules = TRY(JsonFile::Open(folder, "modules.json"));
  if (modules.has_value()) TRY(ReadModules(folder, modules->root(), out));
  std::optional<JsonFile> own = TRY(JsonFile::Open(folder, "sentence_bert_config.json"));
  if (own.has_value()) {
    const ConfigKeys keys = own->keys();
    if (keys.Has("max_seq_length")) out.length_max = TRY(keys.Size("max_seq_length"));
    const bool lowers = TRY(keys.Bool("do_lower_case", false));
    if (lowers) return base::Unimplemented("sentence_bert_config.json: do_lower_case");
  }
  std::optional<JsonFile> settings =
      TRY(JsonFile::Open(folder, "config_sentence_transformers.json"));
  if (settings.has_value()) TRY(ReadPrompts(settings->keys(), out));
  return out;
}

}  // namespace sluice::lm

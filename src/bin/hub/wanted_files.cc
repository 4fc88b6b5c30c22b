#include "bin/hub/wanted_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <set>

#include "base/files.h"
#include "base/json.h"
#include "bin/hub/repo_name.h"

namespace sluice::bin {
namespace {

constexpr std::string_view kSmallFiles[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "encoder.json",
    "vocab.bpe",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "chat_template.jinja",
    "chat_template.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    kWeightsIndexFile,
};
constexpr size_t kShardsMax = 4096;
constexpr int64_t kIndexBytesMax = int64_t{64} << 20;

bool IsSmallFile(std::string_view name) {
  const bool in_subfolder = name.find('/') != std::string_view::npos;
  return (!in_subfolder && name.ends_with(".tiktoken")) ||
         std::find(std::begin(kSmallFiles), std::end(kSmallFiles), name) != std::end(kSmallFiles);
}

bool Has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The files that the index names, in order.
base::Result<std::vector<std::string>> ShardsOf(std::string_view index) {
  base::JsonDocument document;
  std::set<std::string> shards;
  const auto read = [&]() -> base::Status {
    const base::JsonValue root = TRY(document.Parse(index));
    const base::JsonValue map = TRY(root.Get("weight_map"));
    return map.ForEachMember([&](std::string_view, base::JsonValue file) -> base::Status {
      const std::string name(TRY(file.AsString()));
      if (!IsRepoPath(name) || !name.ends_with(".safetensors")) {
        return base::InvalidArgument("'" + name + "' is no file of safetensors");
      }
      if (shards.insert(name).second && shards.size() > kShardsMax) {
        return base::ResourceExhausted("more than " + std::to_string(kShardsMax) + " files");
      }
      return base::Ok();
    });
  };
  const base::Status done = read();
  if (!done.ok()) {
    return base::Error{done.error().code,
                       std::string(kWeightsIndexFile) + ": " + done.error().message};
  }
  return std::vector<std::string>(shards.begin(), shards.end());
}

bool HoldsFile(const std::string& folder, const std::string& name) {
  struct stat info {};
  return stat((folder + "/" + name).c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

}  // namespace

std::vector<std::string> ChooseSmallFiles(const std::vector<std::string>& names) {
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    const bool is_template =
        name.starts_with("additional_chat_templates/") && name.ends_with(".jinja");
    if (is_template || IsSmallFile(name)) chosen.push_back(name);
  }
  return chosen;
}

base::Result<std::vector<std::string>> ChooseModuleFiles(const std::vector<std::string>& names,
                                                         std::string_view modules) {
  std::vector<std::string> chosen;
  if (modules.empty()) return chosen;
  base::JsonDocument document;
  std::set<std::string> folders;
  const auto read = [&]() -> base::Status {
    const base::JsonValue root = TRY(document.Parse(modules));
    return root.ForEachElement([&](base::JsonValue module) -> base::Status {
      const base::JsonValue value = TRY(module.Get("path"));
      const std::string path(TRY(value.AsString()));
      if (path.empty()) return base::Ok();
      if (!IsRepoPath(path)) return base::InvalidArgument("'" + path + "' is no folder's path");
      folders.insert(path);
      return base::Ok();
    });
  };
  const base::Status done = read();
  if (!done.ok()) {
    return base::Error{done.error().code, std::string(kModulesFile) + ": " + done.error().message};
  }
  for (const std::string& name : names) {
    const size_t slash = name.rfind('/');
    if (slash == std::string::npos || folders.count(name.substr(0, slash)) == 0) continue;
    const std::string_view file = std::string_view(name).substr(slash + 1);
    if (IsSmallFile(file) || file.ends_with(".safetensors")) chosen.push_back(name);
  }
  return chosen;
}

base::Result<std::vector<std::string>> ChooseWeights(const std::vector<std::string>& names,
                                                     std::string_view index) {
  if (!index.empty()) {
    std::vector<std::string> shards = TRY(ShardsOf(index));
    for (const std::string& shard : shards) {
      if (Has(names, shard)) continue;
      return base::InvalidArgument(std::string(kWeightsIndexFile) + " names '" + shard +
                                   "', which the repository lacks");
    }
    return shards;
  }
  if (Has(names, "model.safetensors")) return std::vector<std::string>{"model.safetensors"};
  // Without the usual names: whatever lies in the root, but for a second copy in another layout.
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    const bool in_root = name.find('/') == std::string::npos;
    if (in_root && name.ends_with(".safetensors") && !name.starts_with("consolidated") &&
        name != "adapter_model.safetensors") {
      chosen.push_back(name);
    }
  }
  return chosen;
}

std::vector<std::string> GgufParts(const std::string& name) {
  // NAME-00001-of-00003.gguf, as llama.cpp names parts.
  constexpr std::string_view kEnding = "-00001-of-00001.gguf";
  constexpr int kPartsMax = 4096;
  const size_t begin = name.size() > kEnding.size() ? name.size() - kEnding.size() : 0;
  const std::string_view ending = std::string_view(name).substr(begin);
  int count = 0;
  const auto [end, error] = std::from_chars(ending.data() + std::min<size_t>(10, ending.size()),
                                            ending.data() + ending.size(), count);
  const bool split = begin > 0 && ending.substr(6, 4) == "-of-" && ending[0] == '-' &&
                     error == std::errc() && std::string_view(end) == ".gguf" && count >= 1 &&
                     count <= kPartsMax;
  if (!split) return {name};
  std::vector<std::string> parts;
  for (int part = 1; part <= count; ++part) {
    char number[16];
    std::snprintf(number, sizeof number, "-%05d", part);
    parts.push_back(name.substr(0, begin) + number + std::string(ending.substr(6)));
  }
  return parts;
}

std::string OnlyGguf(const std::vector<std::string>& names) {
  std::string only;
  for (const std::string& name : names) {
    if (!name.ends_with(".gguf")) continue;
    const std::string first = GgufParts(name).front();
    if (!only.empty() && first != only) return "";
    only = first;
  }
  return only;
}

std::string DescribeWeights(const std::vector<std::string>& names) {
  std::string text;
  int count = 0;
  for (const char* ending : {".gguf", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx"}) {
    for (const std::string& name : names) {
      if (!name.ends_with(ending) || ++count > 8) continue;
      text += (text.empty() ? "" : ", ") + name;
    }
  }
  if (count > 8) text += ", …";
  return text.empty() ? "no weights at all" : text;
}

bool IsComplete(const std::string& folder, const std::string& gguf_file) {
  if (!gguf_file.empty()) {
    const std::vector<std::string> parts = GgufParts(gguf_file);
    return std::all_of(parts.begin(), parts.end(),
                       [&](const std::string& part) { return HoldsFile(folder, part); });
  }
  if (!HoldsFile(folder, "config.json")) return false;
  if (HoldsFile(folder, kWeightsIndexFile)) {
    const auto index = base::ReadFile(folder + "/" + kWeightsIndexFile, kIndexBytesMax);
    if (!index.ok()) return false;
    const auto shards = ShardsOf(*index);
    return shards.ok() &&
           std::all_of(shards->begin(), shards->end(),
                       [&](const std::string& shard) { return HoldsFile(folder, shard); });
  }
  const auto entries = base::ListFolder(folder);
  return entries.ok() &&
         std::any_of(entries->begin(), entries->end(), [&](const base::FolderEntry& entry) {
           return entry.name.ends_with(".safetensors") && HoldsFile(folder, entry.name);
         });
}

}  // namespace sluice::bin

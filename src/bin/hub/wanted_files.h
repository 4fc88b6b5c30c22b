// Which files of a repository a language model needs: its configuration, its tokenizer and chat
// templates, its safetensors or one GGUF file. Never formats that run code when they are read, and
// never twice the same weights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::bin {

inline constexpr const char* kWeightsIndexFile = "model.safetensors.index.json";
inline constexpr const char* kModulesFile = "modules.json";

// The small files in the repository's root, its additional chat templates among them.
std::vector<std::string> ChooseSmallFiles(const std::vector<std::string>& names);

// Those in the folders that modules.json (its text) names, weights of heads included. Empty text:
// none. kInvalidArgument when it leads elsewhere.
base::Result<std::vector<std::string>> ChooseModuleFiles(const std::vector<std::string>& names,
                                                         std::string_view modules);

// The weights in the root. `index`: the text of model.safetensors.index.json, empty where there is
// none. Empty when the repository has none that can be read; kInvalidArgument when the index names
// a file that the repository lacks.
base::Result<std::vector<std::string>> ChooseWeights(const std::vector<std::string>& names,
                                                     std::string_view index);

// The files of a model that `name`, a GGUF file or a part of one, belongs to: all of its parts in
// order, or itself.
std::vector<std::string> GgufParts(const std::string& name);
// The first file of the only GGUF model among `names`; empty where there is none or more than one.
std::string OnlyGguf(const std::vector<std::string>& names);

// What a repository offers instead, for a message.
std::string DescribeWeights(const std::vector<std::string>& names);

// Whether a folder, a snapshot of a repository, holds all weights that it needs.
bool IsComplete(const std::string& folder, const std::string& gguf_file);

}  // namespace sluice::bin

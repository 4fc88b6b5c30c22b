// A model repository on disk: <root>/<name>/<version>/…, config.pbtxt. Names from outside never
// leave the root.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "serve/repository/model_config.h"
#include "serve/repository/model_settings.h"
#include "serve/service.h"

namespace sluice::serve {

// The models of a repository: folders with a proper name. kNotFound when there is no such folder.
base::Result<std::vector<std::string>> ListModels(const std::string& root, int64_t models_max);

// The versions that a model's folder holds, ascending: its folders with a number for a name.
base::Result<std::vector<int64_t>> ListVersions(const std::string& root, const std::string& name);

// Those of `available` (ascending) that the policy asks for. kNotFound when a specific one is
// missing.
base::Result<std::vector<int64_t>> ChooseVersions(const VersionChoice& choice,
                                                  const std::vector<int64_t>& available);

// The folder of a model of a repository, opened.
base::Result<base::FileHandle> OpenModel(const std::string& root, const std::string& name);

// config.pbtxt of a model's folder; an empty configuration when there is none.
base::Result<inference::ModelConfig> ReadConfigFile(const base::FileHandle& folder,
                                                    const std::string& name);

// Names, sizes and times of a model's files in one text: it changes when the model does.
base::Result<std::string> FingerprintModel(const base::FileHandle& folder, const std::string& name);

// A private folder with the files of a load request, laid out as a repository with one model;
// removed with this object.
class OverrideFolder {
 public:
  OverrideFolder() = default;
  OverrideFolder(OverrideFolder&& other) noexcept : root_(std::move(other.root_)) {
    other.root_.clear();
  }
  OverrideFolder& operator=(OverrideFolder&& other) noexcept {
    std::swap(root_, other.root_);
    return *this;
  }
  ~OverrideFolder();

  // Paths are "<version>/<file>" of plain components; kInvalidArgument for any other.
  static base::Result<OverrideFolder> Write(const std::string& name, const LoadOverride& load);
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

}  // namespace sluice::serve

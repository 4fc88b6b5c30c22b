#include "serve/repository/model_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/files.h"

namespace sluice::serve {

using base::InvalidArgument;

namespace {

constexpr int kDepthMax = 4;
constexpr int64_t kFilesMax = 10000;

base::Status AppendFingerprint(const base::FileHandle& folder, const std::string& path, int depth,
                               std::string& out) {
  std::vector<base::FolderEntry> entries = TRY(base::ListFolder(folder, path, kFilesMax));
  for (const base::FolderEntry& entry : entries) {
    struct stat info {};
    if (fstatat(folder.fd(), entry.name.c_str(), &info, 0) != 0) continue;
    out += path + "/" + entry.name + " " + std::to_string(info.st_size) + " " +
           std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec) + "\n";
    if (!entry.is_folder || depth == 0) continue;
    base::Result<base::FileHandle> below = base::OpenBeneath(folder, entry.name);
    if (below.ok()) TRY(AppendFingerprint(*below, path + "/" + entry.name, depth - 1, out));
  }
  return base::Ok();
}

base::Status WriteWhole(const std::string& path, std::string_view bytes) {
  base::FileHandle file(
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return base::Internal("cannot create a file of the load request");
  while (!bytes.empty()) {
    ssize_t n = write(file.fd(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return base::ResourceExhausted("cannot write a file of the load request: no room");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return base::Ok();
}

}  // namespace

base::Result<base::FileHandle> OpenModel(const std::string& root, const std::string& name) {
  if (!IsModelName(name))
    return InvalidArgument("a model's name is 1 to 128 of A-Z a-z 0-9 _ . -, no dot first");
  base::FileHandle folder = TRY(base::OpenFolder(root));
  return base::OpenBeneath(folder, name);
}

base::Result<std::vector<std::string>> ListModels(const std::string& root, int64_t models_max) {
  std::vector<std::string> names;
  std::vector<base::FolderEntry> entries = TRY(base::ListFolder(root));
  for (base::FolderEntry& entry : entries) {
    if (!entry.is_folder || !IsModelName(entry.name)) continue;
    if (static_cast<int64_t>(names.size()) >= models_max) {
      return base::ResourceExhausted("the repository holds more than " +
                                     std::to_string(models_max) + " models");
    }
    names.push_back(std::move(entry.name));
  }
  return names;
}

base::Result<std::vector<int64_t>> ListVersions(const std::string& root, const std::string& name) {
  base::FileHandle folder = TRY(OpenModel(root, name));
  std::vector<base::FolderEntry> entries = TRY(base::ListFolder(folder, name));
  std::vector<int64_t> versions;
  for (const base::FolderEntry& entry : entries) {
    int64_t version = ParseVersion(entry.name);
    // "01" and "1" would be one version in two folders: only the plain form counts.
    if (entry.is_folder && version > 0 && std::to_string(version) == entry.name)
      versions.push_back(version);
  }
  std::sort(versions.begin(), versions.end());
  return versions;
}

base::Result<std::vector<int64_t>> ChooseVersions(const VersionChoice& choice,
                                                  const std::vector<int64_t>& available) {
  if (available.empty())
    return base::NotFound("the model's folder has no version: expected a folder such as '1'");
  switch (choice.policy) {
    case VersionPolicy::kAll:
      return available;
    case VersionPolicy::kLatest: {
      size_t count = std::min<size_t>(available.size(), static_cast<size_t>(choice.latest_count));
      return std::vector<int64_t>(available.end() - static_cast<int64_t>(count), available.end());
    }
    case VersionPolicy::kSpecific:
      break;
  }
  std::vector<int64_t> chosen;
  for (int64_t version : choice.versions) {
    if (!std::binary_search(available.begin(), available.end(), version)) {
      return base::NotFound("config field 'version_policy.specific': there is no version " +
                            std::to_string(version));
    }
    if (std::find(chosen.begin(), chosen.end(), version) == chosen.end()) chosen.push_back(version);
  }
  if (chosen.empty())
    return InvalidArgument("config field 'version_policy.specific': expected at least one version");
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

base::Result<inference::ModelConfig> ReadConfigFile(const base::FileHandle& folder,
                                                    const std::string& name) {
  base::Result<base::FileHandle> file = base::OpenBeneath(folder, "config.pbtxt");
  if (!file.ok()) {
    if (file.error().code == base::Code::kNotFound) return inference::ModelConfig();
    return std::move(file).error();
  }
  std::string text = TRY(base::ReadFile(*file, name + "/config.pbtxt", kConfigBytesMax));
  return ParseConfigText(text);
}

base::Result<std::string> FingerprintModel(const base::FileHandle& folder,
                                           const std::string& name) {
  std::string out;
  TRY(AppendFingerprint(folder, name, kDepthMax, out));
  return out;
}

base::Result<OverrideFolder> OverrideFolder::Write(const std::string& name,
                                                   const LoadOverride& load) {
  if (!IsModelName(name))
    return InvalidArgument("a model's name is 1 to 128 of A-Z a-z 0-9 _ . -, no dot first");
  std::error_code error;
  std::string path = (std::filesystem::temp_directory_path(error) / "sluice-load-XXXXXX").string();
  if (error || mkdtemp(path.data()) == nullptr)
    return base::Internal("cannot make a folder for the load request");
  OverrideFolder folder;
  folder.root_ = path;
  for (const auto& [relative, bytes] : load.files) {
    size_t slash = relative.find('/');
    std::string version = relative.substr(0, slash);
    std::string file = slash == std::string::npos ? "" : relative.substr(slash + 1);
    bool plain = ParseVersion(version) > 0 && std::to_string(ParseVersion(version)) == version &&
                 base::IsPathComponent(file) && file[0] != '.';
    if (!plain) {
      return InvalidArgument("load parameter 'file:" + relative.substr(0, 128) +
                             "': expected 'file:<version>/<file>' of plain names");
    }
    std::string version_path = path + "/" + name + "/" + version;
    std::filesystem::create_directories(version_path, error);
    if (error) return base::Internal("cannot make a folder for the load request");
    TRY(WriteWhole(version_path + "/" + file, bytes));
  }
  return folder;
}

OverrideFolder::~OverrideFolder() {
  if (root_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

}  // namespace sluice::serve

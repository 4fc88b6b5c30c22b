#include "bin/hub/model_place.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "bin/hub/pull.h"

namespace sluice::bin {
namespace {

// The last component of a path, whatever it is written like.
std::string LastPart(const std::string& path) {
  char whole[PATH_MAX];
  std::string text = realpath(path.c_str(), whole) != nullptr ? whole : path;
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text.substr(text.rfind('/') + 1);
}

}  // namespace

base::Result<ModelPlace> FindModel(const std::string& given, const std::string& file) {
  struct stat info {};
  if (stat(given.c_str(), &info) == 0) {
    ModelPlace place;
    if (S_ISDIR(info.st_mode)) {
      place.folder = given;
      place.file = file;
      place.name = LastPart(given);
      return place;
    }
    if (!given.ends_with(".gguf") || !file.empty()) {
      return base::InvalidArgument("'" + given +
                                   "': expected a model's folder, ORG/NAME or a "
                                   ".gguf file, got another file");
    }
    const size_t slash = given.rfind('/');
    place.folder = slash == std::string::npos ? "." : given.substr(0, slash + 1);
    place.file = given.substr(slash == std::string::npos ? 0 : slash + 1);
    place.name = place.file.substr(0, place.file.size() - 5);
    return place;
  }
  const base::Result<RepoName> repo = ParseRepoName(given);
  if (!repo.ok()) {
    return base::NotFound("there is no folder '" + given +
                          "', and it is no name on the hub: " + repo.error().message);
  }
  const HubSettings settings =
      TRY(ReadHubSettings([](const char* name) -> const char* { return std::getenv(name); }));
  PullOptions options;
  options.file = file;
  base::Result<PulledModel> found = FindPulled(*repo, options, settings);
  if (!found.ok()) {
    PullProgress progress(stderr, isatty(STDERR_FILENO) == 1);
    found = Pull(*repo, options, settings, progress);
  }
  const PulledModel pulled = TRY(std::move(found));
  return ModelPlace{pulled.folder, pulled.file, repo->name};
}

}  // namespace sluice::bin

// A model's name on Hugging Face's hub: ORG/NAME, with a revision where one is asked for.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice::bin {

struct RepoName {
  std::string organisation;
  std::string name;
  std::string revision = "main";  // a branch, a tag, refs/pr/N or a commit

  std::string id() const { return organisation + "/" + name; }
};

// ORG/NAME[@REVISION] by the hub's rules for names. kInvalidArgument for anything else.
base::Result<RepoName> ParseRepoName(std::string_view text);

// 40 hexadecimal digits: a revision that does not move.
bool IsCommit(std::string_view text);

// Whether `path`, a file's in a repository, stays below the folder that it is put into: plain
// components, none of them hidden by dots alone, and no more of them than a repository has.
bool IsRepoPath(std::string_view path);

}  // namespace sluice::bin

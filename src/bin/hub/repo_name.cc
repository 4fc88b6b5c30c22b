#include "bin/hub/repo_name.h"

#include <algorithm>

#include "base/files.h"

namespace sluice::bin {
namespace {

constexpr size_t kNameBytesMax = 96;
constexpr size_t kRevisionBytesMax = 255;
constexpr size_t kPathBytesMax = 1024;
constexpr int kPathDepthMax = 16;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

bool IsEdge(char c) {
  return c == '.' || c == '-';
}

// The hub's rules: huggingface_hub, utils/_validators.py.
bool IsNamePart(std::string_view part) {
  return !part.empty() && part.size() <= kNameBytesMax &&
         std::all_of(part.begin(), part.end(), IsPlain) && !IsEdge(part.front()) &&
         !IsEdge(part.back()) && part.find("--") == std::string_view::npos &&
         part.find("..") == std::string_view::npos && !part.ends_with(".git");
}

}  // namespace

base::Result<RepoName> ParseRepoName(std::string_view text) {
  const size_t at = std::min(text.find('@'), text.size());
  const std::string_view id = text.substr(0, at);
  const size_t slash = std::min(id.find('/'), id.size());
  RepoName name;
  name.organisation = id.substr(0, slash);
  if (slash < id.size()) name.name = id.substr(slash + 1);
  if (!IsNamePart(name.organisation) || !IsNamePart(name.name)) {
    return base::InvalidArgument("expected ORG/NAME[@REVISION] of A-Z a-z 0-9 _ . -, got '" +
                                 std::string(text.substr(0, 256)) + "'");
  }
  if (at == text.size()) return name;
  name.revision = text.substr(at + 1);
  const bool plain = std::all_of(name.revision.begin(), name.revision.end(),
                                 [](char c) { return IsPlain(c) || c == '/'; });
  if (!plain || name.revision.size() > kRevisionBytesMax || !IsRepoPath(name.revision)) {
    return base::InvalidArgument("expected a branch, a tag or a commit behind @, got '" +
                                 name.revision.substr(0, 256) + "'");
  }
  return name;
}

bool IsCommit(std::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool IsRepoPath(std::string_view path) {
  if (path.empty() || path.size() > kPathBytesMax) return false;
  const bool printable = std::all_of(path.begin(), path.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f && c != '\\';
  });
  if (!printable) return false;
  for (int depth = 0; depth < kPathDepthMax; ++depth) {
    const size_t slash = std::min(path.find('/'), path.size());
    if (!base::IsPathComponent(path.substr(0, slash))) return false;
    if (slash == path.size()) return true;
    path.remove_prefix(slash + 1);
  }
  return false;
}

}  // namespace sluice::bin

// Hugging Face's hub over HTTP: what a revision holds, what a file is, and its bytes from a
// position on. One attempt each; what may be tried again is kUnavailable or kDeadlineExceeded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "bin/hub/hub_settings.h"
#include "bin/hub/repo_name.h"
#include "serve/client/http_fetch.h"

namespace sluice::bin {

struct HubListing {
  std::string commit;
  std::vector<std::string> files;  // paths in the repository, each safe to create below a folder
};

// A file as the hub describes it.
struct HubFile {
  std::string path;
  std::string etag;  // names its blob: sha256 of large files, git's checksum of others
  int64_t bytes = 0;
};

// Why a server should be asked again later, where it says so.
struct HubPatience {
  base::Duration wait;  // of Retry-After; 0: not said
};

class HubClient {
 public:
  explicit HubClient(const HubSettings& settings) : settings_(settings) {}

  // kNotFound: no such model or revision; kPermissionDenied: it wants a token, or another one.
  base::Result<HubListing> List(const RepoName& repo, HubPatience& patience) const;
  base::Result<HubFile> Describe(const RepoName& repo, const std::string& commit,
                                 const std::string& path, HubPatience& patience) const;
  // The answer's body begins at `from` where its status is 206, else at 0.
  base::Result<serve::HttpFetch> Open(const RepoName& repo, const std::string& commit,
                                      const HubFile& file, int64_t from,
                                      HubPatience& patience) const;

  static constexpr int kRedirectsMax = 10;
  static constexpr size_t kListingBytesMax = size_t{64} << 20;
  static constexpr int64_t kFilesMax = 100'000;

 private:
  struct Asked {
    std::string method;
    serve::Url url;
    std::string range;
    bool stay = false;  // an answer that leads to another server is an answer
  };
  base::Result<serve::HttpFetch> Ask(const Asked& asked, const std::string& what,
                                     HubPatience& patience) const;
  base::Error Refusal(const serve::HttpFetch& answer, const serve::Url& from,
                      const std::string& what, HubPatience& patience) const;
  base::Result<serve::Url> AddressOf(const std::string& target) const;
  std::string FileTarget(const RepoName& repo, const std::string& commit,
                         const std::string& path) const;

  const HubSettings& settings_;
};

}  // namespace sluice::bin

// Hugging Face's cache of repositories, laid out as huggingface_hub does it: blobs under their
// checksums, snapshots of links to them, references from revisions to commits. What is written here
// its libraries read, and the other way round.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/result.h"
#include "bin/hub/repo_name.h"

namespace sluice::bin {

// Of one model; creates folders when something is written. Processes may share a cache.
class HubCache {
 public:
  HubCache(std::string root, const RepoName& repo);

  // The snapshot's folder that a revision leads to; empty where there is none.
  std::string FindSnapshot(const std::string& revision) const;
  std::string SnapshotOf(const std::string& commit) const;

  // `etag` as the hub gives it, without quotes: a blob's name. Checked by the caller.
  std::string BlobPath(const std::string& etag) const { return folder_ + "/blobs/" + etag; }
  std::string PartialPath(const std::string& etag) const { return BlobPath(etag) + ".incomplete"; }
  // Bytes of a whole blob, -1 where there is none.
  int64_t BlobBytes(const std::string& etag) const;

  base::Status MakeFolders() const;
  // Keeps other processes from writing the same blob until the handle goes. With `try_only`
  // kUnavailable when somebody else holds it now.
  base::Result<base::FileHandle> Lock(const std::string& etag, bool try_only) const;
  // A partial file has become a blob.
  base::Status Keep(const std::string& etag) const;
  // The file `path` of a commit's snapshot is this blob.
  base::Status Link(const std::string& commit, const std::string& path,
                    const std::string& etag) const;
  // A branch or tag is this commit now.
  base::Status Refer(const std::string& revision, const std::string& commit) const;
  // Bytes that the cache's file system has left; -1: unknown.
  int64_t FreeBytes() const;

  const std::string& folder() const { return folder_; }

 private:
  std::string root_;
  std::string locks_;
  std::string folder_;
};

// Whether an etag may name a blob.
bool IsBlobName(std::string_view etag);

}  // namespace sluice::bin

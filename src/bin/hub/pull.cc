#include "bin/hub/pull.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "base/files.h"
#include "bin/hub/blob_file.h"
#include "bin/hub/hub_cache.h"
#include "bin/hub/hub_client.h"
#include "bin/hub/wanted_files.h"

namespace sluice::bin {
namespace {

constexpr int64_t kSmallBytesMax = int64_t{256} << 20;
constexpr int64_t kReadBytesMax = int64_t{64} << 20;  // of an index, of modules.json
constexpr size_t kFilesMax = 8192;
constexpr base::Duration kWaitMax = base::Duration::Seconds(8);
constexpr size_t kPieceBytes = 256 << 10;

bool IsFile(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool MayPass(const base::Error& error) {
  return error.code == base::Code::kUnavailable || error.code == base::Code::kDeadlineExceeded;
}

// One pull.
class Puller {
 public:
  Puller(const RepoName& repo, const PullOptions& options, const HubSettings& settings,
         PullProgress& progress)
      : repo_(repo),
        options_(options),
        client_(settings),
        cache_(settings.cache, repo),
        progress_(progress) {}

  base::Result<PulledModel> Run();

 private:
  // Attempts `once` until it succeeds, fails for good, or has failed too often.
  template <class Once>
  auto Insist(Once once) -> decltype(once(std::declval<HubPatience&>())) {
    for (int64_t failed = 1;; ++failed) {
      HubPatience patience{};
      auto result = once(patience);
      if (result.ok() || !MayPass(result.error()) || failed >= options_.attempts) return result;
      Wait(result.error(), failed, patience);
    }
  }
  void Wait(const base::Error& error, int64_t failed, const HubPatience& patience);
  base::Result<std::vector<std::string>> ChooseRest(std::string& gguf);
  base::Result<std::string> ReadPulled(const std::string& name);
  base::Status PullAll(const std::vector<std::string>& names, int64_t each_bytes_max);
  base::Status PullFile(const HubFile& file);
  base::Status FillBlob(const HubFile& file, BlobFile& blob);
  base::Status Receive(const HubFile& file, BlobFile& blob, HubPatience& patience);

  const RepoName& repo_;
  const PullOptions& options_;
  const HubClient client_;
  const HubCache cache_;
  PullProgress& progress_;
  HubListing listing_;
};

void Puller::Wait(const base::Error& error, int64_t failed, const HubPatience& patience) {
  base::Duration wait = options_.first_wait;
  for (int64_t i = 1; i < failed && wait < kWaitMax; ++i) wait.ns *= 2;
  wait.ns = std::max(std::min(wait, kWaitMax).ns, patience.wait.ns);
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.1f", wait.seconds());
  progress_.Say(error.message + "; again in " + seconds + " s");
  std::this_thread::sleep_for(std::chrono::nanoseconds(wait.ns));
}

base::Result<PulledModel> Puller::Run() {
  listing_ = TRY(Insist([&](HubPatience& patience) { return client_.List(repo_, patience); }));
  TRY(cache_.MakeFolders());
  PulledModel pulled;
  pulled.file = options_.file;
  pulled.folder = cache_.SnapshotOf(listing_.commit);
  if (pulled.file.empty()) {
    TRY(PullAll(ChooseSmallFiles(listing_.files), kSmallBytesMax));
  }
  const std::vector<std::string> rest = TRY(ChooseRest(pulled.file));
  TRY(PullAll(rest, options_.bytes_max));
  if (!IsCommit(repo_.revision)) TRY(cache_.Refer(repo_.revision, listing_.commit));
  return pulled;
}

base::Result<std::string> Puller::ReadPulled(const std::string& name) {
  const bool has = std::binary_search(listing_.files.begin(), listing_.files.end(), name);
  if (!has) return std::string();
  return base::ReadFile(cache_.SnapshotOf(listing_.commit) + "/" + name, kReadBytesMax);
}

// Weights, and what modules.json leads to. `gguf`: the file that was asked for or is the only one.
base::Result<std::vector<std::string>> Puller::ChooseRest(std::string& gguf) {
  const std::vector<std::string>& files = listing_.files;
  std::vector<std::string> rest;
  if (gguf.empty()) {
    const std::string modules = TRY(ReadPulled(kModulesFile));
    const std::string index = TRY(ReadPulled(kWeightsIndexFile));
    rest = TRY(ChooseModuleFiles(files, modules));
    const std::vector<std::string> weights = TRY(ChooseWeights(files, index));
    rest.insert(rest.end(), weights.begin(), weights.end());
    const bool any = std::any_of(rest.begin(), rest.end(), [](const std::string& name) {
      return name.ends_with(".safetensors");
    });
    if (any) return rest;
    gguf = OnlyGguf(files);
  }
  if (!gguf.empty()) {
    rest = GgufParts(gguf);
    gguf = rest.front();
    const bool all = std::all_of(rest.begin(), rest.end(), [&](const std::string& part) {
      return std::binary_search(files.begin(), files.end(), part);
    });
    if (all) return rest;
  }
  const bool some = std::any_of(files.begin(), files.end(),
                                [](const std::string& name) { return name.ends_with(".gguf"); });
  return base::NotFound("model '" + repo_.id() + "': expected " +
                        (gguf.empty() ? "safetensors" : "the file '" + gguf + "'") + ", it has " +
                        DescribeWeights(files) +
                        (some ? "; --file NAME.gguf takes one of them" : ""));
}

base::Status Puller::PullAll(const std::vector<std::string>& names, int64_t each_bytes_max) {
  if (names.size() > kFilesMax) {
    return base::ResourceExhausted("model '" + repo_.id() + "': more than " +
                                   std::to_string(kFilesMax) + " files");
  }
  std::vector<HubFile> files;
  int64_t bytes = 0;
  int64_t here = 0;
  for (const std::string& name : names) {
    // A commit never changes: what its snapshot holds is right.
    if (IsFile(cache_.SnapshotOf(listing_.commit) + "/" + name)) continue;
    files.push_back(TRY(Insist([&](HubPatience& patience) {
      return client_.Describe(repo_, listing_.commit, name, patience);
    })));
    const HubFile& file = files.back();
    if (file.bytes > each_bytes_max || bytes > options_.bytes_max - file.bytes) {
      return base::ResourceExhausted("'" + name + "' of model '" + repo_.id() + "' has " +
                                     SizeText(file.bytes) + ", more than the limit leaves");
    }
    bytes += file.bytes;
    struct stat begun {};
    if (stat(cache_.PartialPath(file.etag).c_str(), &begun) == 0) {
      here += std::min(begun.st_size, file.bytes);
    } else if (cache_.BlobBytes(file.etag) == file.bytes) {
      here += file.bytes;
    }
  }
  const int64_t left = cache_.FreeBytes();
  if (left >= 0 && bytes - here > left) {
    return base::ResourceExhausted("model '" + repo_.id() + "' needs " + SizeText(bytes - here) +
                                   " more, '" + cache_.folder() + "' has " + SizeText(left) +
                                   " left (HF_HOME names another place)");
  }
  progress_.Begin(bytes, here);
  for (const HubFile& file : files) TRY(PullFile(file));
  return base::Ok();
}

base::Status Puller::PullFile(const HubFile& file) {
  base::Result<base::FileHandle> lock = cache_.Lock(file.etag, true);
  if (!lock.ok() && lock.error().code == base::Code::kUnavailable) {
    progress_.Say(file.path + ": another process is bringing it; waiting for that");
    lock = cache_.Lock(file.etag, false);
  }
  if (!lock.ok()) return std::move(lock).error();
  if (cache_.BlobBytes(file.etag) != file.bytes) {
    BlobFile blob = TRY(BlobFile::Open(cache_.PartialPath(file.etag), file.bytes, file.etag));
    progress_.BeginFile(file.path, file.bytes, blob.written());
    TRY(FillBlob(file, blob));
    TRY(cache_.Keep(file.etag));
    progress_.EndFile();
  }
  return cache_.Link(listing_.commit, file.path, file.etag);
}

// The whole file, checked. What does not have its checksum is fetched once more from its beginning:
// an earlier attempt may have left something else.
base::Status Puller::FillBlob(const HubFile& file, BlobFile& blob) {
  for (int round = 0; round < 2; ++round) {
    int64_t failed = 0;
    while (!blob.full()) {
      const int64_t before = blob.written();
      HubPatience patience{};
      const base::Status received = Receive(file, blob, patience);
      if (received.ok()) continue;
      failed = blob.written() > before ? 1 : failed + 1;
      if (!MayPass(received.error()) || failed >= options_.attempts) return received;
      Wait(received.error(), failed, patience);
    }
    const bool right = TRY(blob.Finish());
    if (right) return base::Ok();
    TRY(blob.Restart());
    progress_.Rewind();
    if (round == 0) progress_.Say(file.path + ": its checksum is wrong; once more");
  }
  return base::Internal(repo_.id() + "/" + file.path + ": expected the checksum " + file.etag +
                        ", twice something else came");
}

base::Status Puller::Receive(const HubFile& file, BlobFile& blob, HubPatience& patience) {
  serve::HttpFetch answer =
      TRY(client_.Open(repo_, listing_.commit, file, blob.written(), patience));
  if (answer.status() == 200 && blob.written() > 0) {
    TRY(blob.Restart());
    progress_.Rewind();
  }
  std::vector<char> piece(kPieceBytes);
  for (;;) {
    const size_t got = TRY(answer.Read(piece.data(), piece.size()));
    if (got == 0) break;
    TRY(blob.Append({piece.data(), got}));
    progress_.Advance(static_cast<int64_t>(got));
  }
  if (blob.full()) return base::Ok();
  return base::Unavailable(repo_.id() + "/" + file.path + ": expected " +
                           std::to_string(file.bytes) + " bytes, got " +
                           std::to_string(blob.written()));
}

}  // namespace

base::Result<PulledModel> FindPulled(const RepoName& repo, const PullOptions& options,
                                     const HubSettings& settings) {
  const HubCache cache(settings.cache, repo);
  PulledModel pulled;
  pulled.folder = cache.FindSnapshot(repo.revision);
  pulled.file = options.file;
  if (!pulled.folder.empty()) {
    if (!pulled.file.empty()) pulled.file = GgufParts(pulled.file).front();
    if (IsComplete(pulled.folder, pulled.file)) return pulled;
    std::vector<std::string> names;
    const auto entries = base::ListFolder(pulled.folder);
    if (entries.ok() && pulled.file.empty() && !IsFile(pulled.folder + "/config.json")) {
      for (const base::FolderEntry& entry : *entries) names.push_back(entry.name);
    }
    pulled.file = OnlyGguf(names);
    if (!pulled.file.empty() && IsComplete(pulled.folder, pulled.file)) return pulled;
  }
  return base::NotFound("'" + settings.cache + "' does not hold all of model '" + repo.id() +
                        "', revision '" + repo.revision + "'");
}

base::Result<PulledModel> Pull(const RepoName& repo, const PullOptions& options,
                               const HubSettings& settings, PullProgress& progress) {
  if (!options.file.empty() && (!IsRepoPath(options.file) || !options.file.ends_with(".gguf"))) {
    return base::InvalidArgument("--file: expected a .gguf file of the repository, got '" +
                                 options.file + "'");
  }
  if (settings.offline) {
    base::Result<PulledModel> found = FindPulled(repo, options, settings);
    if (found.ok()) return found;
    return base::NotFound("HF_HUB_OFFLINE is set, and " + found.error().message);
  }
  return Puller(repo, options, settings, progress).Run();
}

}  // namespace sluice::bin

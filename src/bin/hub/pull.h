// A model of Hugging Face's hub as a folder on this machine: found in the cache, or brought there.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "bin/hub/hub_settings.h"
#include "bin/hub/pull_progress.h"
#include "bin/hub/repo_name.h"

namespace sluice::bin {

struct PullOptions {
  std::string file;      // a GGUF file instead of safetensors; empty: safetensors
  int64_t attempts = 6;  // of anything, one behind the other without a byte in between
  int64_t bytes_max = int64_t{1} << 42;
  base::Duration first_wait = base::Duration::Millis(500);  // between attempts; doubles up to 8 s
};

struct PulledModel {
  std::string folder;  // a snapshot with everything that the model needs
  std::string file;    // the GGUF file in it; empty: safetensors
};

// What the cache holds of it, without asking anybody. kNotFound when it is not all there.
base::Result<PulledModel> FindPulled(const RepoName& repo, const PullOptions& options,
                                     const HubSettings& settings);

// Asks the hub what the revision is now and brings what the cache lacks of it. What an interrupted
// pull has left is continued. Offline it is FindPulled.
base::Result<PulledModel> Pull(const RepoName& repo, const PullOptions& options,
                               const HubSettings& settings, PullProgress& progress);

}  // namespace sluice::bin

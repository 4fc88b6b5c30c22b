// The life cycle of models: which versions are loaded, published, replaced, unloaded, and what
// became of each.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "serve/config.h"
#include "serve/repository/load_thread.h"
#include "serve/repository/model_folder.h"
#include "serve/repository/model_loader.h"
#include "serve/router.h"
#include "serve/service.h"

namespace sluice::serve {

// Owner: Server. Loading happens on its load thread; the rest is thread-safe.
class Repository : public ModelControlPlane {
 public:
  Repository(const ServerConfig& config, ModelLoader& loader, Router& router);
  ~Repository() override;

  // Finds the models named at start and begins to load them. An error: the repository itself cannot
  // be read.
  base::Status Start();
  // Unloads everything and waits until every version was destroyed. No request is accepted any
  // more.
  void Stop();
  // Waits until the loads begun by Start have ended, well or not, or Stop was called.
  void AwaitStart();
  // Looks for changes now, as polling does; returns when what changed was loaded.
  void Poll();

  std::vector<IndexRow> Index(bool ready_only) const override;
  void Load(std::string name, LoadOverride override_with,
            std::function<void(base::Status)> done) override;
  void Unload(std::string name, std::function<void(base::Status)> done) override;
  bool ready(bool strict) const override;

 private:
  enum class State { kLoading, kReady, kUnavailable, kUnloading };
  struct VersionStatus {
    State state = State::kLoading;
    std::string reason;
  };
  struct Entry {
    std::map<int64_t, VersionStatus> versions;
    std::string failure;      // of the model as a whole: its configuration, its folder
    std::string fingerprint;  // of its files when they were last loaded, for polling
  };
  // What a load works with.
  struct Plan {
    std::string root;     // the repository's or the override's
    bool single = false;  // from its own folder instead
    inference::ModelConfig config;
    ConfigReading reading;
    std::vector<int64_t> versions;
  };

  // Where models lie: the repository's folder, or the single model's own.
  bool IsSingle(const std::string& name) const {
    return config_.single.has_value() && config_.single->name == name;
  }
  base::Result<std::vector<std::string>> FindModels() const;
  base::Result<base::FileHandle> OpenFolderOf(const std::string& name) const;
  base::Result<std::string> Fingerprint(const std::string& name) const;
  // The load thread.
  base::Status LoadModel(const std::string& name, const LoadOverride& load);
  base::Result<Plan> MakePlan(const std::string& name, const LoadOverride& load,
                              const OverrideFolder& folder);
  base::Result<Router::Pin> LoadVersion(const std::string& name, int64_t version, const Plan& plan);
  base::Status UnloadModel(const std::string& name);
  void PollNow();
  void SetVersion(const std::string& name, int64_t version, State state, std::string reason);
  // Any thread.
  base::Status CheckControl() const;
  void PollMain();

  const ServerConfig& config_;
  ModelLoader& loader_;
  Router& router_;
  LoadThread load_thread_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Entry> entries_;  // guarded by mutex_
  std::set<std::string> named_at_start_;  // guarded by mutex_
  int64_t starting_ = 0;                  // loads of Start not ended; guarded by mutex_
  bool stopping_ = false;                 // guarded by mutex_
  std::thread poll_thread_;
};

}  // namespace sluice::serve

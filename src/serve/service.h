// What both dialects ask of the server: models, readiness, the repository's verbs. One object, made
// by Server.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/config.h"
#include "serve/router.h"

namespace sluice::serve {

class PrepPool;
class ShmRegions;

struct IndexRow {
  std::string name;
  std::string version;  // empty: no version was ever tried
  std::string state;    // READY, UNAVAILABLE, LOADING, UNLOADING; empty with an empty version
  std::string reason;
};

// What a load request brings along: a configuration in place of the repository's, and files.
struct LoadOverride {
  std::string config_json;                   // empty: the repository's own
  std::map<std::string, std::string> files;  // "1/model.onnx" → bytes
};

// The life cycle of models, as the dialects may drive it. Callbacks come on the load thread.
class ModelControlPlane {
 public:
  virtual ~ModelControlPlane() = default;
  virtual std::vector<IndexRow> Index(bool ready_only) const = 0;
  virtual void Load(std::string name, LoadOverride override_with,
                    std::function<void(base::Status)> done) = 0;
  virtual void Unload(std::string name, std::function<void(base::Status)> done) = 0;
  // Every model named at start is ready (strict), or at least one is.
  virtual bool ready(bool strict) const = 0;
};

// Lives as long as the server. Thread-safe.
struct Service {
  const ServerConfig* config = nullptr;
  const Router* router = nullptr;
  ModelControlPlane* control = nullptr;
  PrepPool* prep = nullptr;   // null: io threads prepare everything
  ShmRegions* shm = nullptr;  // null: clients may register no shared memory
  std::atomic<bool> draining{false};
  // Fields of requests that no dialect knows; they are accepted.
  std::atomic<int64_t> unknown_fields{0};

  bool ready() const {
    return !draining.load(std::memory_order_relaxed) && control->ready(config->strict_readiness);
  }
};

// Names of models: [A-Za-z0-9_.-]{1,128}, no dot first. Everything else never reaches a path.
bool IsModelName(std::string_view name);

inline constexpr std::string_view kServerName = "sluice";
inline constexpr std::string_view kServerVersion = "0.1.0";
// The protocol extensions that work here.
std::vector<std::string> ServerExtensions(const ServerConfig& config);

}  // namespace sluice::serve

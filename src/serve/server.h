// The whole server: repository, HTTP, gRPC, metrics; start, drain, stop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "serve/config.h"
#include "serve/repository/model_loader.h"

namespace sluice::serve {

class Repository;

// Owner: bin or a test. Its functions are called from one thread; requests come on threads of its
// own.
class Server {
 public:
  struct Environment {
    // Outlives the server. Called on the load thread.
    ModelLoader* loader = nullptr;
    // Called when the drain begins and what is still queued may be refused; may be empty.
    std::function<void()> begin_drain;
    // Lines to append to the metrics page; may be empty. Called on the metrics thread.
    std::function<std::string()> extra_metrics;
  };
  Server(ServerConfig config, Environment environment);
  ~Server();

  // Listens at once; models load meanwhile, and readiness tells when they have. An error: nothing
  // runs.
  base::Status Start();
  // Waits until the models named at start were loaded, well or not.
  void AwaitModels();
  bool ready() const;

  // The ports listened on; -1: off.
  int64_t http_port() const;
  int64_t grpc_port() const;
  int64_t metrics_port() const;

  // Not ready from now on. Serves on for drain_grace, takes nothing new then, and returns when
  // everything in flight has its answer or drain_timeout has passed. True: everything had.
  bool Drain();
  // Ends what is left, destroys every model version.
  void Stop();

  Repository& repository();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::serve

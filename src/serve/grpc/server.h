// The gRPC listener: lanes, the services on them, shutdown.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/result.h"
#include "serve/service.h"

namespace sluice::serve {

struct GrpcCounters {
  std::atomic<int64_t> in_flight{0};  // calls not answered yet
};

// Owner: Server. Start and Stop on one thread.
class GrpcServer {
 public:
  struct Options {
    int64_t port = 0;  // 0: any free one
    int64_t threads = 1;
  };
  GrpcServer(Options options, Service& service);
  ~GrpcServer();

  base::Status Start();
  int64_t port() const { return port_; }
  const GrpcCounters& counters() const { return counters_; }
  // No new calls; those under way get `grace` to end, then they are cancelled. Returns when all
  // have ended.
  void Stop(base::Duration grace);

 private:
  struct Running;

  const Options options_;
  Service& service_;
  GrpcCounters counters_;
  int64_t port_ = -1;
  std::unique_ptr<Running> running_;
};

}  // namespace sluice::serve

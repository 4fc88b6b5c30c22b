// The HTTP listener: io threads, accepted connections, limits on them, drain. What requests mean is
// the handler's.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "serve/config.h"
#include "serve/http/session.h"

namespace sluice::serve {

// Owner: whoever serves (Server, the metrics page). Start and Stop on one thread.
class HttpServer {
 public:
  struct Options {
    std::string host;
    int64_t port = 0;  // 0: any free one
    int64_t threads = 1;
    HttpLimits limits;
  };
  HttpServer(Options options, HttpHandler* handler);
  ~HttpServer();

  base::Status Start();
  int64_t port() const { return port_; }
  const HttpCounters& counters() const { return counters_; }

  // No new connections; idle ones close, the others after their answer.
  void Drain();
  // Closes everything, answered or not, and joins the threads.
  void Stop();

 private:
  struct Lane;
  void Accept();
  void TakeConnections();
  void AcceptLater(int error);

  const Options options_;
  HttpHandler* const handler_;
  HttpCounters counters_;
  std::atomic<bool> draining_{false};
  int64_t port_ = -1;
  std::vector<std::unique_ptr<Lane>> lanes_;
  size_t next_lane_ = 0;         // lane 0's io thread only
  base::Duration accept_pause_;  // the same; 0: accepting goes well
  bool running_ = false;
};

}  // namespace sluice::serve

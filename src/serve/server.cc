#include "serve/server.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "base/machine.h"
#include "serve/grpc/server.h"
#include "serve/http/server.h"
#include "serve/metrics_page.h"
#include "serve/oip/http_routes.h"
#include "serve/oip/shm_regions.h"
#include "serve/openai/http_routes.h"
#include "serve/prep_pool.h"
#include "serve/repository/repository.h"

namespace sluice::serve {

namespace {

// Which protocol a path belongs to.
class HttpDialects : public HttpHandler {
 public:
  explicit HttpDialects(Service& service) : oip_(service), openai_(service) {}
  void Handle(const HttpRequest& request, const HttpExchange& exchange) override {
    if (openai_.Serves(request.target)) return openai_.Handle(request, exchange);
    oip_.Handle(request, exchange);
  }

 private:
  OipHttp oip_;
  OpenAiHttp openai_;
};

}  // namespace

struct Server::Parts {
  Parts(ServerConfig c, Environment e)
      : config(std::move(c)),
        environment(std::move(e)),
        repository(config, *environment.loader, router),
        shm({config.client_shm_prefix, config.shm_regions_max}),
        prep(config.prep_threads, {config.prep_queue_max, config.prep_bytes_max}) {
    service.config = &config;
    service.router = &router;
    service.control = &repository;
    service.prep = &prep;
    if (config.allow_client_shm) service.shm = &shm;
  }

  int64_t threads() const {
    if (config.io_threads > 0) return config.io_threads;
    // Half the cores: they share them with the compute threads and with the clients of one machine.
    // More made p99 ten times longer on two cores and requests a second no higher
    // (bench/compare/server).
    return std::clamp<int64_t>(base::DescribeMachine().cores / 2, 1, 64);
  }

  const ServerConfig config;
  const Environment environment;
  Router router;
  Repository repository;
  ShmRegions shm;
  PrepPool prep;
  Service service;
  std::unique_ptr<HttpDialects> routes;
  std::unique_ptr<MetricsPage> metrics;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<HttpServer> metrics_http;
  bool running = false;
};

Server::Server(ServerConfig config, Environment environment)
    : parts_(std::make_unique<Parts>(std::move(config), std::move(environment))) {}

Server::~Server() {
  Stop();
}

base::Status Server::Start() {
  Parts& p = *parts_;
  TRY(p.repository.Start());
  p.running = true;
  ListenerCounts listeners;
  if (p.config.http_port >= 0) {
    p.routes = std::make_unique<HttpDialects>(p.service);
    p.http = std::make_unique<HttpServer>(
        HttpServer::Options{p.config.host, p.config.http_port, p.threads(), p.config.http},
        p.routes.get());
    listeners.http = &p.http->counters();
  }
  if (p.config.grpc_port >= 0) {
    p.grpc = std::make_unique<GrpcServer>(GrpcServer::Options{p.config.grpc_port, p.threads()},
                                          p.service);
    listeners.grpc_in_flight = &p.grpc->counters().in_flight;
  }
  if (p.config.metrics_port >= 0) {
    HttpLimits limits;
    limits.body_bytes_max = 1 << 10;
    limits.connections_max = 64;
    p.metrics = std::make_unique<MetricsPage>(p.service, listeners, p.environment.extra_metrics);
    p.metrics_http = std::make_unique<HttpServer>(
        HttpServer::Options{p.config.host, p.config.metrics_port, 1, limits}, p.metrics.get());
  }
  auto start = [&]() -> base::Status {
    if (p.http != nullptr) TRY(p.http->Start());
    if (p.grpc != nullptr) TRY(p.grpc->Start());
    if (p.metrics_http != nullptr) TRY(p.metrics_http->Start());
    return base::Ok();
  };
  base::Status started = start();
  if (!started.ok()) Stop();
  return started;
}

void Server::AwaitModels() {
  parts_->repository.AwaitStart();
}
bool Server::ready() const {
  return parts_->service.ready();
}
Repository& Server::repository() {
  return parts_->repository;
}
int64_t Server::http_port() const {
  return parts_->http ? parts_->http->port() : -1;
}
int64_t Server::grpc_port() const {
  return parts_->grpc ? parts_->grpc->port() : -1;
}
int64_t Server::metrics_port() const {
  return parts_->metrics_http ? parts_->metrics_http->port() : -1;
}

bool Server::Drain() {
  Parts& p = *parts_;
  if (!p.running) return true;
  p.service.draining.store(true, std::memory_order_relaxed);
  base::Log(base::LogLevel::kInfo, "draining")
      .With("grace_seconds", p.config.drain_grace.seconds());
  // Load balancers look at readiness every now and then: until they have, requests still come and
  // are served.
  std::this_thread::sleep_for(std::chrono::nanoseconds(p.config.drain_grace.ns));
  base::Time until = base::SystemClock::Get().Now() + p.config.drain_timeout;
  if (p.http != nullptr) p.http->Drain();
  if (p.environment.begin_drain) p.environment.begin_drain();
  if (p.grpc != nullptr) p.grpc->Stop(p.config.drain_timeout);
  constexpr auto kLookEvery = std::chrono::milliseconds(2);
  while (p.http != nullptr && p.http->counters().requests_in_flight.load() > 0) {
    if (base::SystemClock::Get().Now() >= until) return false;
    std::this_thread::sleep_for(kLookEvery);
  }
  return true;
}

void Server::Stop() {
  Parts& p = *parts_;
  if (!p.running) return;
  p.running = false;
  p.service.draining.store(true, std::memory_order_relaxed);
  if (p.grpc != nullptr) p.grpc->Stop({});
  if (p.http != nullptr) p.http->Stop();
  p.prep.Stop();
  p.repository.Stop();
  if (p.metrics_http != nullptr) p.metrics_http->Stop();
}

}  // namespace sluice::serve

// The /metrics page in Prometheus' text format: Triton's nv_inference_* names, our own
// distributions and refusals, and what engines count of themselves.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "serve/http/session.h"
#include "serve/service.h"

namespace sluice::serve {

// Counts of the listeners, which the page shows beside the models'.
struct ListenerCounts {
  const HttpCounters* http = nullptr;
  const std::atomic<int64_t>* grpc_in_flight = nullptr;
};

// The page. `extra` is appended as it is: series of rooms that this one does not know.
std::string WriteMetrics(const Service& service, const ListenerCounts& listeners,
                         const std::string& extra);

// GET /metrics; every other path is 404.
class MetricsPage : public HttpHandler {
 public:
  // `extra` may be empty; called on the metrics thread.
  MetricsPage(const Service& service, ListenerCounts listeners, std::function<std::string()> extra)
      : service_(service), listeners_(listeners), extra_(std::move(extra)) {}
  void Handle(const HttpRequest& request, const HttpExchange& exchange) override;

 private:
  const Service& service_;
  const ListenerCounts listeners_;
  const std::function<std::string()> extra_;
};

}  // namespace sluice::serve

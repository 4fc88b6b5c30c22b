// OpenAI's API over HTTP and what its neighbours added to it: which path means what.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/http/session.h"
#include "serve/service.h"

namespace sluice::serve {

// What a route's function gets. `path` is cut at its slashes and decoded, without the base path.
// On the exchange's io thread.
struct OpenAiCall {
  Service& service;
  const HttpRequest& request;
  const std::vector<std::string>& path;
  const HttpExchange& exchange;
};

// One path of the API: the table in http_routes.cc has them all. A function answers the exchange,
// now or later, exactly once.
struct OpenAiRoute {
  std::string_view path;    // "/v1/models/*": a * is one part, whatever it says
  std::string_view method;  // GET answers HEAD as well
  void (*handle)(const OpenAiCall& call);
};

// Thread-safe: called by all io threads.
class OpenAiHttp : public HttpHandler {
 public:
  explicit OpenAiHttp(Service& service) : service_(service) {}
  // Whether the path is one of these, or below /v1/.
  bool Serves(std::string_view target) const;
  void Handle(const HttpRequest& request, const HttpExchange& exchange) override;

 private:
  Service& service_;
};

// Whether the API shows the model.
bool IsLanguageModel(const ServedModel& model);

}  // namespace sluice::serve

// OpenAI's API over HTTP, as far as it is built: /v1/models, /v1/completions,
// /v1/chat/completions, each with one answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/http/session.h"
#include "serve/service.h"

namespace sluice::serve {

// Thread-safe: called by all io threads.
class OpenAiHttp : public HttpHandler {
 public:
  explicit OpenAiHttp(Service& service) : service_(service) {}
  void Handle(const HttpRequest& request, const HttpExchange& exchange) override;

 private:
  HttpResponse Models(const std::vector<std::string>& path);
  void Complete(const HttpRequest& request, const HttpExchange& exchange, bool chat);

  Service& service_;
};

}  // namespace sluice::serve

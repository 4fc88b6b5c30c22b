// The Open Inference Protocol over HTTP: which path means what. Inference is in http_infer.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/http/session.h"
#include "serve/service.h"

namespace sluice::serve {

// A path cut at its slashes and percent-decoded; empty when it is malformed. `base_path` is taken
// off first.
std::vector<std::string> SplitPath(std::string_view target, std::string_view base_path);

// Answers every route of the protocol. Thread-safe: called by all io threads.
class OipHttp : public HttpHandler {
 public:
  explicit OipHttp(Service& service) : service_(service) {}
  void Handle(const HttpRequest& request, const HttpExchange& exchange) override;

 private:
  using Path = std::vector<std::string>;
  struct Routed;

  HttpResponse Answer(const HttpRequest& request, const Path& path, const HttpExchange& exchange,
                      bool& later);
  HttpResponse Health(const Path& path);
  HttpResponse Model(const HttpRequest& request, const Path& path, const HttpExchange& exchange,
                     bool& later);
  HttpResponse Repository(const HttpRequest& request, const Path& path,
                          const HttpExchange& exchange, bool& later);
  HttpResponse Load(const HttpRequest& request, const std::string& name,
                    const HttpExchange& exchange, bool& later);
  HttpResponse SharedMemory(const HttpRequest& request, const Path& path);

  Service& service_;
};

}  // namespace sluice::serve

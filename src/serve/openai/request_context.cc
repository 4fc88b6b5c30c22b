#include "serve/openai/request_context.h"

#include <algorithm>

#include "base/log.h"
#include "serve/http/compression.h"
#include "serve/openai/http_routes.h"

namespace sluice::serve {
namespace {
constexpr size_t kRequestIdMax = 128;
}

CallContext ContextOf(const HttpRequest& request) {
  CallContext context;
  context.arrival = request.arrival;
  context.transport_timeout = ParseMillis(request.header("x-envoy-expected-rq-timeout-ms"));
  context.ttft = ParseMillis(request.header("x-slo-ttft-ms"));
  context.tpot = ParseMillis(request.header("x-slo-tpot-ms"));
  context.trace_parent = request.header("traceparent");
  return context;
}

std::string EchoedHeaders(const HttpRequest& request) {
  const std::string_view id = request.header("x-request-id");
  const auto plain = [](char c) { return c > ' ' && c < 0x7f; };
  if (id.empty() || id.size() > kRequestIdMax || !std::all_of(id.begin(), id.end(), plain)) {
    return {};
  }
  return "x-request-id: " + std::string(id) + "\r\n";
}

base::Result<std::string_view> BodyOf(const HttpRequest& request, int64_t bytes_max,
                                      std::string& inflated) {
  const ContentCoding coding = TRY(ParseContentCoding(request.header("Content-Encoding")));
  if (coding == ContentCoding::kIdentity) return request.body;
  inflated = TRY(Decompress(coding, request.body, bytes_max));
  const size_t bytes = inflated.size();
  inflated.append(static_cast<size_t>(kBodyPadding), '\0');
  return std::string_view(inflated).substr(0, bytes);
}

base::Result<Router::Pin> FindLanguageModel(const Service& service, const std::string& name) {
  base::Result<Router::Pin> found = service.router->Find(name, {});
  if (found.ok() && IsLanguageModel(**found)) return found;
  return base::NotFound("the model '" + name + "' does not exist");
}

void NoteUnknown(Service& service, const std::vector<std::string>& fields) {
  if (fields.empty()) return;
  service.unknown_fields.fetch_add(static_cast<int64_t>(fields.size()), std::memory_order_relaxed);
  static base::LogLimit limit(base::Duration::Seconds(10));
  std::string names;
  for (const std::string& field : fields) names += (names.empty() ? "" : ", ") + field;
  base::Log(base::LogLevel::kInfo, "unknown_fields", limit).With("fields", names);
}

}  // namespace sluice::serve

// What the headers of a request say to any route of the API: times allowed, who asks, its name.
#pragma once

#include <string>

#include "base/result.h"
#include "serve/http/message.h"
#include "serve/oip/infer_request.h"
#include "serve/router.h"
#include "serve/service.h"

namespace sluice::serve {

// For Ready: deadline from x-envoy-expected-rq-timeout-ms, what is expected of a stream from
// x-slo-ttft-ms and x-slo-tpot-ms, the trace. Views into the request.
CallContext ContextOf(const HttpRequest& request);

// "x-request-id: …\r\n" as it came, or empty: the headers that go back with every answer.
std::string EchoedHeaders(const HttpRequest& request);

// The body, decompressed where it came compressed; `inflated` holds it then. Readable kBodyPadding
// bytes past its end.
base::Result<std::string_view> BodyOf(const HttpRequest& request, int64_t bytes_max,
                                      std::string& inflated);

// The latest version of a language model. kNotFound in the API's words.
base::Result<Router::Pin> FindLanguageModel(const Service& service, const std::string& name);

// Counts fields that nobody knows, and logs some of them.
void NoteUnknown(Service& service, const std::vector<std::string>& fields);

}  // namespace sluice::serve

// POST …/infer: from bytes to a submitted request, from its reply to bytes.
#pragma once

#include <string_view>

#include "serve/http/session.h"
#include "serve/service.h"

namespace sluice::serve {

// Submits, or answers at once with an error. On the exchange's io thread.
void HandleInfer(Service& service, const HttpRequest& request, const HttpExchange& exchange,
                 std::string_view model, std::string_view version);

}  // namespace sluice::serve

// Small answers that several routes give.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/http/message.h"

namespace sluice::serve {

// {"error": text} with this status.
HttpResponse ErrorAnswer(int status, std::string_view text);
// An error in Triton's code, `reason` (may be empty) in the header x-sluice-reason.
HttpResponse ErrorAnswer(const base::Error& error, std::string_view reason = {});
HttpResponse JsonAnswer(std::string json);
// No body and no content type, as Triton's probes and verbs answer.
HttpResponse EmptyAnswer(int status);
// Compresses the body when the client takes it and it is worth it.
void CompressAnswer(std::string_view accept_encoding, HttpResponse& response);

}  // namespace sluice::serve

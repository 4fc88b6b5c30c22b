// Errors as OpenAI's clients read them.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/http/message.h"

namespace sluice::serve {

// An error of a request on its way to a client. Messages name the field that they are about in
// quotes in front, or as the engines do; `param` is taken from there.
struct OpenAiFault {
  int status = 500;
  std::string message;
  std::string param;  // empty: null
  std::string code;   // empty: null
  // Refused because of load: the client is told to come again.
  bool retry = false;
};

// `reason` is one of engine::reason, or empty.
OpenAiFault FaultOf(const base::Error& error, std::string_view reason = {});

// {"error": {"message", "type", "param", "code"}}
std::string FaultJson(const OpenAiFault& fault);
HttpResponse OpenAiError(const OpenAiFault& fault);
HttpResponse OpenAiError(int status, std::string_view message, std::string_view code = {});
HttpResponse OpenAiError(const base::Error& error, std::string_view reason = {});

}  // namespace sluice::serve

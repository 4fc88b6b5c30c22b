#include "serve/openai/errors.h"

#include <utility>

#include "base/json.h"
#include "engine/request.h"
#include "serve/oip/http_answers.h"
#include "serve/status_codes.h"

namespace sluice::serve {
namespace {

// "'field': …", "parameter field: …" and "input field: …" are about that field.
std::string ParamOf(std::string_view message) {
  char ends_at = ':';
  if (message.starts_with('\'')) {
    message.remove_prefix(1);
    ends_at = '\'';
  } else if (message.starts_with("parameter ")) {
    message.remove_prefix(10);
  } else if (message.starts_with("input ")) {
    message.remove_prefix(6);
  } else {
    return {};
  }
  const size_t end = message.find(ends_at);
  if (end == std::string_view::npos || message.substr(0, end).find(' ') < end) return {};
  const std::string_view name = message.substr(0, end);
  // What the engine calls otherwise.
  if (name == "text" || name == "input_ids") return "prompt";
  if (name == "bias" || name == "bias_ids") return "logit_bias";
  return std::string(name);
}

std::string_view TypeOf(int status) {
  return status == 429   ? "rate_limit_error"
         : status >= 500 ? "server_error"
                         : "invalid_request_error";
}

}  // namespace

OpenAiFault FaultOf(const base::Error& error, std::string_view reason) {
  OpenAiFault fault;
  fault.status = HttpStatusOf(error.code);
  // A field that is not built is the request's fault here, as it is with OpenAI.
  if (error.code == base::Code::kUnimplemented) fault.status = 400;
  if (reason == engine::reason::kQueueFull) fault.status = 429;
  fault.message = error.message;
  if (fault.status == 400) fault.param = ParamOf(error.message);
  fault.code = reason;
  fault.retry = reason == engine::reason::kQueueFull || reason == engine::reason::kDraining ||
                reason == engine::reason::kDeadlineAdmission;
  return fault;
}

std::string FaultJson(const OpenAiFault& fault) {
  std::string json;
  base::JsonWriter writer(json);
  const auto optional = [&](const char* key, const std::string& value) {
    writer.Key(key);
    if (value.empty()) {
      writer.Null();
    } else {
      writer.String(value);
    }
  };
  writer.BeginObject().Key("error").BeginObject();
  writer.Key("message").String(fault.message).Key("type").String(TypeOf(fault.status));
  optional("param", fault.param);
  optional("code", fault.code);
  writer.EndObject().EndObject();
  return json;
}

HttpResponse OpenAiError(const OpenAiFault& fault) {
  HttpResponse response = JsonAnswer(FaultJson(fault));
  response.status = fault.status;
  // The clients' own pause between tries grows from half a second; this is its first.
  if (fault.retry) response.headers += "Retry-After: 1\r\nretry-after-ms: 500\r\n";
  return response;
}

HttpResponse OpenAiError(int status, std::string_view message, std::string_view code) {
  OpenAiFault fault;
  fault.status = status;
  fault.message = message;
  fault.code = code;
  return OpenAiError(fault);
}

HttpResponse OpenAiError(const base::Error& error, std::string_view reason) {
  HttpResponse response = OpenAiError(FaultOf(error, reason));
  if (!reason.empty()) response.headers += "x-sluice-reason: " + std::string(reason) + "\r\n";
  return response;
}

}  // namespace sluice::serve

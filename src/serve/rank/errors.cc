#include "serve/rank/errors.h"

#include <string>
#include <utility>

#include "base/json.h"
#include "serve/oip/http_answers.h"

namespace sluice::serve {
namespace {

HttpResponse TeiError(const OpenAiFault& fault) {
  std::string json;
  const char* const type = fault.status == 429   ? "Overloaded"
                           : fault.status >= 500 ? "Backend"
                                                 : "Validation";
  base::JsonWriter(json)
      .BeginObject()
      .Key("error")
      .String(fault.message)
      .Key("error_type")
      .String(type)
      .EndObject();
  HttpResponse response = JsonAnswer(std::move(json));
  response.status = fault.status == 400 ? 422 : fault.status == 500 ? 424 : fault.status;
  return response;
}

}  // namespace

HttpResponse RankError(RankErrors dialect, const OpenAiFault& fault) {
  if (dialect == RankErrors::kOpenAi) return OpenAiError(fault);
  HttpResponse response;
  if (dialect == RankErrors::kTei) {
    response = TeiError(fault);
  } else {
    std::string json;
    base::JsonWriter writer(json);
    writer.BeginObject();
    if (dialect == RankErrors::kJina) writer.Key("detail").String(fault.message);
    writer.Key("message").String(fault.message).EndObject();
    response = JsonAnswer(std::move(json));
    response.status = fault.status;
  }
  if (fault.retry) response.headers += "Retry-After: 1\r\nretry-after-ms: 500\r\n";
  return response;
}

}  // namespace sluice::serve

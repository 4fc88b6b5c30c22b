#include "serve/openai/http_routes.h"

#include <array>
#include <utility>

#include "base/json.h"
#include "serve/oip/http_answers.h"
#include "serve/oip/http_routes.h"
#include "serve/openai/completion_routes.h"
#include "serve/openai/errors.h"
#include "serve/rank/routes.h"

namespace sluice::serve {
namespace {

void ListModels(const OpenAiCall& call) {
  const auto write = [](const std::string& name, base::JsonWriter& writer) {
    writer.BeginObject().Key("id").String(name).Key("object").String("model");
    writer.Key("created").Int(0).Key("owned_by").String(kServerName).EndObject();
  };
  const Router& router = *call.service.router;
  std::string json;
  base::JsonWriter writer(json);
  if (call.path.size() == 3) {
    const std::string& name = call.path[2];
    const base::Result<Router::Pin> pin = router.Find(name, {});
    if (!pin.ok() || !IsLanguageModel(**pin)) {
      return call.exchange.RespondHere(
          OpenAiError(404, "the model '" + name + "' does not exist", "model_not_found"));
    }
    write(name, writer);
    return call.exchange.RespondHere(JsonAnswer(std::move(json)));
  }
  writer.BeginObject().Key("object").String("list").Key("data").BeginArray();
  std::string before;
  for (const Router::Pin& pin : router.All()) {
    const std::string& name = pin->description().model;
    if (!IsLanguageModel(*pin) || name == before) continue;
    write(name, writer);
    before = name;
  }
  writer.EndArray().EndObject();
  call.exchange.RespondHere(JsonAnswer(std::move(json)));
}

constexpr std::array kRoutes = {
    OpenAiRoute{"/v1/models", "GET", ListModels},
    OpenAiRoute{"/v1/models/*", "GET", ListModels},
    OpenAiRoute{"/v1/completions", "POST", CompleteText},
    OpenAiRoute{"/v1/chat/completions", "POST", CompleteChat},
    OpenAiRoute{"/v1/embeddings", "POST", EmbedOpenAi},
    OpenAiRoute{"/embed", "POST", EmbedTei},
    OpenAiRoute{"/v1/score", "POST", ScorePairs},
    OpenAiRoute{"/score", "POST", ScorePairs},
    OpenAiRoute{"/v1/rerank", "POST", RerankJina},
    OpenAiRoute{"/rerank", "POST", RerankJina},
    OpenAiRoute{"/v2/rerank", "POST", RerankCohere},
    OpenAiRoute{"/tokenize", "POST", TokenizeText},
    OpenAiRoute{"/detokenize", "POST", DetokenizeIds},
    OpenAiRoute{"/decode", "POST", DetokenizeIds},
};

bool Matches(const OpenAiRoute& route, const std::vector<std::string>& path) {
  std::string_view rest = route.path;
  for (const std::string& part : path) {
    if (rest.empty()) return false;
    rest.remove_prefix(1);
    const std::string_view wanted = rest.substr(0, rest.find('/'));
    if (wanted != "*" && wanted != part) return false;
    rest.remove_prefix(wanted.size());
  }
  return rest.empty() && !path.empty();
}

}  // namespace

bool IsLanguageModel(const ServedModel& model) {
  return model.description().platform == "language_model";
}

bool OpenAiHttp::Serves(std::string_view target) const {
  const std::string& base_path = service_.config->base_path;
  if (!target.starts_with(base_path)) return false;
  target.remove_prefix(base_path.size());
  if (target.starts_with("/v1/")) return true;
  // The Open Inference Protocol's, but for one.
  if (target.starts_with("/v2/models")) return false;
  target = target.substr(0, target.find('?'));
  for (const OpenAiRoute& route : kRoutes) {
    if (route.path == target) return true;
  }
  return false;
}

void OpenAiHttp::Handle(const HttpRequest& request, const HttpExchange& exchange) {
  const std::vector<std::string> path = SplitPath(request.target, service_.config->base_path);
  bool known = false;
  for (const OpenAiRoute& route : kRoutes) {
    if (!Matches(route, path)) continue;
    known = true;
    if (request.method == route.method || (route.method == "GET" && request.method == "HEAD")) {
      return route.handle({service_, request, path, exchange});
    }
  }
  if (known) return exchange.RespondHere(OpenAiError(405, "Method Not Allowed"));
  exchange.RespondHere(OpenAiError(404, "there is no " + std::string(request.target) + " here"));
}

}  // namespace sluice::serve

#include "serve/openai/http_routes.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

#include "base/json.h"
#include "serve/http/compression.h"
#include "serve/oip/http_answers.h"
#include "serve/oip/http_routes.h"
#include "serve/oip/submit.h"
#include "serve/openai/completion_request.h"
#include "serve/status_codes.h"

namespace sluice::serve {
namespace {

int64_t SecondsSince1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// An error as OpenAI's clients read it.
HttpResponse OpenAiError(int status, std::string_view message, std::string_view code = {}) {
  const char* const type = status == 429   ? "rate_limit_error"
                           : status >= 500 ? "server_error"
                                           : "invalid_request_error";
  std::string json;
  base::JsonWriter writer(json);
  writer.BeginObject().Key("error").BeginObject();
  writer.Key("message").String(message).Key("type").String(type).Key("param").Null().Key("code");
  if (code.empty()) {
    writer.Null();
  } else {
    writer.String(code);
  }
  writer.EndObject().EndObject();
  HttpResponse response = JsonAnswer(std::move(json));
  response.status = status;
  return response;
}

HttpResponse OpenAiError(const base::Error& error, std::string_view reason = {}) {
  // A field that is not built is the request's fault here, as it is with OpenAI.
  const int status = error.code == base::Code::kUnimplemented ? 400 : HttpStatusOf(error.code);
  HttpResponse response = OpenAiError(status, error.message, reason);
  if (!reason.empty()) response.headers = "x-sluice-reason: " + std::string(reason) + "\r\n";
  return response;
}

// Receives the reply on whichever thread it is posted, writes the answer on the connection's own.
class CompletionSink : public engine::ReplySink,
                       public Delivery,
                       public std::enable_shared_from_this<CompletionSink> {
 public:
  CompletionSink(const HttpExchange& exchange, std::string model, bool chat,
                 std::string_view accept_encoding)
      : exchange_(exchange),
        model_(std::move(model)),
        chat_(chat),
        accept_encoding_(accept_encoding) {}

  void Post(engine::Reply reply) override {
    if (!reply.terminal) return;
    reply_ = std::move(reply);
    exchange_.io().Deliver(shared_from_this());
  }

  void Arrive() override {
    exchange_.RespondHere(Answer());
    reply_ = {};
  }

 private:
  int64_t Number(std::string_view name) const {
    for (const auto& [key, value] : reply_.parameters) {
      if (key == name && std::holds_alternative<int64_t>(value)) return std::get<int64_t>(value);
    }
    return 0;
  }

  HttpResponse Answer() const {
    if (!reply_.status.ok()) return OpenAiError(reply_.status.error(), reply_.reason);
    static std::atomic<uint64_t> last{0};
    std::string text;
    for (const tensor::NamedTensor& output : reply_.outputs) {
      if (output.name == "text") text = output.tensor.view().as<std::string_view>()[0];
    }
    std::string finish_reason = "stop";
    for (const auto& [key, value] : reply_.parameters) {
      if (key == "finish_reason") finish_reason = std::get<std::string>(value);
    }
    const int64_t now = SecondsSince1970();
    std::string json;
    base::JsonWriter writer(json);
    writer.BeginObject().Key("id").String((chat_ ? "chatcmpl-" : "cmpl-") + std::to_string(now) +
                                          "-" + std::to_string(++last));
    writer.Key("object").String(chat_ ? "chat.completion" : "text_completion");
    writer.Key("created").Int(now).Key("model").String(model_);
    writer.Key("choices").BeginArray().BeginObject().Key("index").Int(0);
    if (chat_) {
      writer.Key("message").BeginObject().Key("role").String("assistant");
      writer.Key("content").String(text).Key("refusal").Null().EndObject();
    } else {
      writer.Key("text").String(text);
    }
    writer.Key("logprobs").Null().Key("finish_reason").String(finish_reason);
    writer.EndObject().EndArray();
    const int64_t prompt = Number("prompt_tokens"), said = Number("completion_tokens");
    writer.Key("usage").BeginObject().Key("prompt_tokens").Int(prompt);
    writer.Key("completion_tokens").Int(said).Key("total_tokens").Int(prompt + said);
    writer.Key("prompt_tokens_details").BeginObject().Key("cached_tokens");
    writer.Int(Number("cached_tokens")).EndObject().EndObject().EndObject();
    HttpResponse response = JsonAnswer(std::move(json));
    CompressAnswer(accept_encoding_, response);
    return response;
  }

  const HttpExchange exchange_;
  const std::string model_;
  const bool chat_;
  const std::string accept_encoding_;
  engine::Reply reply_;
};

bool IsLanguageModel(const ServedModel& model) {
  return model.description().platform == "language_model";
}

}  // namespace

void OpenAiHttp::Handle(const HttpRequest& request, const HttpExchange& exchange) {
  const std::vector<std::string> path = SplitPath(request.target, service_.config->base_path);
  const bool post = request.method == "POST";
  const bool chat = path.size() == 3 && path[1] == "chat" && path[2] == "completions";
  if (chat || (path.size() == 2 && path[1] == "completions")) {
    if (!post) return exchange.RespondHere(OpenAiError(405, "Method Not Allowed"));
    return Complete(request, exchange, chat);
  }
  if (path.size() >= 2 && path[1] == "models" && path.size() <= 3) {
    const bool get = request.method == "GET" || request.method == "HEAD";
    return exchange.RespondHere(get ? Models(path) : OpenAiError(405, "Method Not Allowed"));
  }
  exchange.RespondHere(OpenAiError(404, "there is no " + std::string(request.target) + " here"));
}

HttpResponse OpenAiHttp::Models(const std::vector<std::string>& path) {
  const auto write = [](const std::string& name, base::JsonWriter& writer) {
    writer.BeginObject().Key("id").String(name).Key("object").String("model");
    writer.Key("created").Int(0).Key("owned_by").String(kServerName).EndObject();
  };
  std::string json;
  base::JsonWriter writer(json);
  if (path.size() == 3) {
    const base::Result<Router::Pin> pin = service_.router->Find(path[2], {});
    if (!pin.ok() || !IsLanguageModel(**pin)) {
      return OpenAiError(404, "the model '" + path[2] + "' does not exist", "model_not_found");
    }
    write(path[2], writer);
    return JsonAnswer(std::move(json));
  }
  writer.BeginObject().Key("object").String("list").Key("data").BeginArray();
  std::string before;
  for (const Router::Pin& pin : service_.router->All()) {
    const std::string& name = pin->description().model;
    if (!IsLanguageModel(*pin) || name == before) continue;
    write(name, writer);
    before = name;
  }
  writer.EndArray().EndObject();
  return JsonAnswer(std::move(json));
}

void OpenAiHttp::Complete(const HttpRequest& request, const HttpExchange& exchange, bool chat) {
  Router::Pin pin;
  const auto parse = [&]() -> base::Result<CompletionRequest> {
    const ContentCoding coding = TRY(ParseContentCoding(request.header("Content-Encoding")));
    std::string inflated;
    if (coding != ContentCoding::kIdentity) {
      inflated = TRY(Decompress(coding, request.body, service_.config->http.body_bytes_max));
    }
    CompletionRequest parsed = TRY(ParseCompletion(
        coding == ContentCoding::kIdentity ? request.body : inflated,
        chat ? CompletionKind::kChat : CompletionKind::kText, service_.config->request));
    const base::Result<Router::Pin> found = service_.router->Find(parsed.model, {});
    if (!found.ok() || !IsLanguageModel(**found)) {
      return base::NotFound("the model '" + parsed.model + "' does not exist");
    }
    pin = *found;
    parsed.infer.model = pin;
    CallContext context;
    context.arrival = request.arrival;
    context.transport_timeout = ParseMillis(request.header("x-envoy-expected-rq-timeout-ms"));
    context.trace_parent = request.header("traceparent");
    TRY(Ready(context, parsed.infer));
    return parsed;
  };
  base::Result<CompletionRequest> parsed = parse();
  if (!parsed.ok()) {
    if (pin != nullptr) pin->malformed.Add();
    const bool missing = parsed.error().code == base::Code::kNotFound;
    return exchange.RespondHere(OpenAiError(parsed.error(), missing ? "model_not_found" : ""));
  }
  auto sink = std::make_shared<CompletionSink>(exchange, parsed->model, chat,
                                               request.header("Accept-Encoding"));
  exchange.Watch(parsed->infer.request->call);
  parsed->infer.request->sink = std::move(sink);
  PrepareAndSubmit(service_, pin, std::move(parsed->infer.request));
}

}  // namespace sluice::serve

#include "serve/openai/completion_routes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "serve/oip/submit.h"
#include "serve/openai/completion_replies.h"
#include "serve/openai/completion_request.h"
#include "serve/openai/errors.h"
#include "serve/openai/request_context.h"

namespace sluice::serve {
namespace {

// A prompt's tokens are asked for by an echo alone.
base::Status CheckEcho(const engine::Description& description, const InferRequest& prompt) {
  constexpr std::string_view kPromptLogprobs = "prompt_logprobs";
  const auto named = [&](const auto& entry) { return entry.name == kPromptLogprobs; };
  const engine::Parameters& asked = prompt.request->parameters;
  const bool wanted = std::any_of(asked.begin(), asked.end(), [&](const auto& parameter) {
    return parameter.first == kPromptLogprobs;
  });
  if (!wanted || std::any_of(description.outputs.begin(), description.outputs.end(), named)) {
    return base::Ok();
  }
  return base::Unimplemented("'echo' of token ids, with 'logprobs' or without an answer: model '" +
                             description.model + "' does not tell its prompt's tokens");
}

base::Result<CompletionRequest> Parse(const OpenAiCall& call, CompletionKind kind,
                                      Router::Pin& pin) {
  const ServerConfig& config = *call.service.config;
  std::string inflated;
  const std::string_view body = TRY(BodyOf(call.request, config.http.body_bytes_max, inflated));
  CompletionRequest parsed = TRY(ParseCompletion(body, kind, config.request));
  NoteUnknown(call.service, parsed.unknown);
  pin = TRY(FindLanguageModel(call.service, parsed.model));
  CallContext context = ContextOf(call.request);
  context.takes_chunks = parsed.stream;
  for (InferRequest& prompt : parsed.prompts) {
    prompt.model = pin;
    TRY(CheckEcho(pin->description(), prompt));
    TRY(Ready(context, prompt));
  }
  return parsed;
}

CompletionShape ShapeOf(const HttpRequest& request, CompletionRequest& parsed,
                        const Router::Pin& pin) {
  CompletionShape shape;
  shape.names = NameAnswer(parsed.kind, parsed.model, pin->version_text);
  shape.answers = parsed.n;
  shape.logprobs = parsed.logprobs >= 0;
  shape.tells_usage = parsed.include_usage;
  shape.usage_always = parsed.usage_always;
  shape.echo = parsed.echo;
  shape.echoed = std::move(parsed.echoed);
  shape.headers = EchoedHeaders(request);
  shape.accept_encoding = request.header("Accept-Encoding");
  for (const InferRequest& prompt : parsed.prompts) shape.calls.push_back(prompt.request->call);
  return shape;
}

void Complete(const OpenAiCall& call, CompletionKind kind) {
  Router::Pin pin;
  base::Result<CompletionRequest> parsed = Parse(call, kind, pin);
  if (!parsed.ok()) {
    if (pin != nullptr) pin->malformed.Add();
    const bool missing = parsed.error().code == base::Code::kNotFound;
    HttpResponse response = missing ? OpenAiError(404, parsed.error().message, "model_not_found")
                                    : OpenAiError(parsed.error());
    // A decompressed body above its bound is the client's payload, not the server's load.
    if (parsed.error().code == base::Code::kResourceExhausted) response.status = 413;
    response.headers += EchoedHeaders(call.request);
    return call.exchange.RespondHere(std::move(response));
  }
  CompletionShape shape = ShapeOf(call.request, *parsed, pin);
  for (const std::shared_ptr<engine::Call>& one : shape.calls) call.exchange.Watch(one);
  const std::shared_ptr<CompletionReplies> replies =
      parsed->stream ? AnswerInEvents(call.exchange, std::move(shape))
                     : AnswerInOne(call.exchange, std::move(shape));
  for (size_t i = 0; i < parsed->prompts.size(); ++i) {
    std::unique_ptr<engine::Request> request = std::move(parsed->prompts[i].request);
    request->sink = replies->SinkOf(i);
    PrepareAndSubmit(call.service, pin, std::move(request));
  }
}

}  // namespace

void CompleteText(const OpenAiCall& call) {
  Complete(call, CompletionKind::kText);
}

void CompleteChat(const OpenAiCall& call) {
  Complete(call, CompletionKind::kChat);
}

}  // namespace sluice::serve

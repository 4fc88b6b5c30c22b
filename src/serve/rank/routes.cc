#include "serve/rank/routes.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "serve/http/compression.h"
#include "serve/oip/http_answers.h"
#include "serve/oip/submit.h"
#include "serve/openai/errors.h"
#include "serve/openai/request_context.h"
#include "serve/rank/answers.h"
#include "serve/rank/embedding_request.h"
#include "serve/rank/errors.h"
#include "serve/rank/gathered_replies.h"
#include "serve/rank/rerank_request.h"
#include "serve/rank/score_request.h"
#include "serve/rank/token_request.h"

namespace sluice::serve {
namespace {

using Body = base::Result<std::string>;

// What a route makes of a body, in the making.
struct Asked {
  RankFields* fields = nullptr;
  const char* task = "";
  std::vector<InferRequest> requests;
  RankErrors errors = RankErrors::kOpenAi;
  std::function<Body(const std::vector<engine::Reply>&)> write;
};

bool Can(const ServedModel& model, std::string_view task) {
  const std::vector<std::string>& tasks = model.description().tasks;
  return tasks.empty() || std::find(tasks.begin(), tasks.end(), task) != tasks.end();
}

// The model that is named; where none is, the only one whose own task it is, or the only one that
// can do it.
base::Result<Router::Pin> FindModel(const Service& service, const std::string& name,
                                    std::string_view task) {
  if (!name.empty()) {
    Router::Pin pin = TRY(FindLanguageModel(service, name));
    if (Can(*pin, task)) return pin;
    return base::InvalidArgument("'model': expected one for the task " + std::string(task) +
                                 ", model " + name + " is not");
  }
  Router::Pin own, able;  // the latest version of the last one
  int64_t owns = 0, ables = 0;
  for (const Router::Pin& pin : service.router->All()) {
    if (!IsLanguageModel(*pin) || !Can(*pin, task)) continue;
    const engine::Description& description = pin->description();
    if (able == nullptr || able->description().model != description.model) ++ables;
    able = pin;
    if (description.tasks.empty() || description.tasks[0] != task) continue;
    if (own == nullptr || own->description().model != description.model) ++owns;
    own = pin;
  }
  if (owns == 1) return own;
  if (ables == 1) return able;
  if (ables == 0) return base::NotFound("there is no model for the task " + std::string(task));
  return base::InvalidArgument("'model': expected a name, there are several for the task " +
                               std::string(task));
}

void Refuse(const OpenAiCall& call, RankErrors errors, const base::Error& error) {
  OpenAiFault fault = FaultOf(error);
  if (error.code == base::Code::kNotFound) fault.code = "model_not_found";
  // A body above its bound is the client's payload, not the server's load.
  if (error.code == base::Code::kResourceExhausted) fault.status = 413;
  HttpResponse response = RankError(errors, fault);
  response.headers += EchoedHeaders(call.request);
  call.exchange.RespondHere(std::move(response));
}

// Integers in the type that the model declares: 32 and 64 bits are told apart by none of the
// bodies.
void FitIntegers(const engine::Description& description, engine::Request& request) {
  using tensor::DType;
  for (tensor::NamedTensor& input : request.inputs) {
    const auto spec = std::find_if(description.inputs.begin(), description.inputs.end(),
                                   [&](const auto& one) { return one.name == input.name; });
    if (spec == description.inputs.end() || spec->dtype == input.tensor.dtype) continue;
    const tensor::Tensor& from = input.tensor;
    tensor::Tensor to;
    to.dtype = spec->dtype;
    to.shape = from.shape;
    const int64_t count = from.shape.elements();
    to.buffer = tensor::Buffer::Allocate(std::max<int64_t>(1, count * DTypeSize(to.dtype)));
    if (from.dtype == DType::kI32 && to.dtype == DType::kI64) {
      std::copy_n(from.view().as<int32_t>(), count, to.mutable_view().as<int64_t>());
    } else if (from.dtype == DType::kI64 && to.dtype == DType::kI32) {
      // What does not fit is no token of any vocabulary, nor is -1.
      std::transform(from.view().as<int64_t>(), from.view().as<int64_t>() + count,
                     to.mutable_view().as<int32_t>(), [](int64_t id) {
                       return id < 0 || id > INT32_MAX ? -1 : static_cast<int32_t>(id);
                     });
    } else {
      continue;
    }
    input.tensor = std::move(to);
  }
}

base::Result<Router::Pin> MakeReady(const OpenAiCall& call, Asked& asked) {
  const Router::Pin pin = TRY(FindModel(call.service, asked.fields->model, asked.task));
  // Answers name the model that gave them.
  asked.fields->model = pin->description().model;
  const CallContext context = ContextOf(call.request);
  for (InferRequest& infer : asked.requests) {
    infer.model = pin;
    FitIntegers(pin->description(), *infer.request);
    const base::Status ready = Ready(context, infer);
    if (ready.ok()) continue;
    pin->malformed.Add();
    return ready.error();
  }
  return pin;
}

void Submit(const OpenAiCall& call, Asked asked) {
  NoteUnknown(call.service, asked.fields->unknown);
  const base::Result<Router::Pin> pin = MakeReady(call, asked);
  if (!pin.ok()) return Refuse(call, asked.errors, pin.error());
  std::vector<std::shared_ptr<engine::Call>> calls;
  for (const InferRequest& infer : asked.requests) {
    calls.push_back(infer.request->call);
    call.exchange.Watch(calls.back());
  }
  const auto answer = [errors = asked.errors, write = std::move(asked.write),
                       headers = EchoedHeaders(call.request),
                       encoding = std::string(call.request.header("Accept-Encoding"))](
                          const std::vector<engine::Reply>& replies) {
    HttpResponse response;
    if (const engine::Reply* failure = FailureAmong(replies)) {
      response = RankError(errors, FaultOf(failure->status.error(), failure->reason));
      if (failure->reason[0] != '\0') {
        response.headers += "x-sluice-reason: " + std::string(failure->reason) + "\r\n";
      }
    } else {
      Body body = write(replies);
      response =
          body.ok() ? JsonAnswer(*std::move(body)) : RankError(errors, FaultOf(body.error()));
    }
    response.headers += headers;
    CompressAnswer(encoding, response);
    return response;
  };
  const auto replies =
      std::make_shared<GatheredReplies>(call.exchange, std::move(calls), std::move(answer));
  for (size_t i = 0; i < asked.requests.size(); ++i) {
    std::unique_ptr<engine::Request> request = std::move(asked.requests[i].request);
    request->sink = replies->SinkOf(i);
    PrepareAndSubmit(call.service, *pin, std::move(request));
  }
}

// The parsed body, shared with whoever writes the answer. Null: it was refused.
template <class Request, class Parse>
std::shared_ptr<Request> Read(const OpenAiCall& call, RankErrors errors, const Parse& parse) {
  const ServerConfig& config = *call.service.config;
  const auto read = [&]() -> base::Result<Request> {
    std::string inflated;
    const std::string_view body = TRY(BodyOf(call.request, config.http.body_bytes_max, inflated));
    return parse(body, config.request);
  };
  base::Result<Request> parsed = read();
  if (!parsed.ok()) {
    Refuse(call, errors, parsed.error());
    return nullptr;
  }
  return std::make_shared<Request>(*std::move(parsed));
}

void Embed(const OpenAiCall& call, EmbeddingDialect dialect) {
  const RankErrors errors =
      dialect == EmbeddingDialect::kTei ? RankErrors::kTei : RankErrors::kOpenAi;
  const auto parsed = Read<EmbeddingRequest>(
      call, errors, [dialect](std::string_view body, const RequestLimits& limits) {
        return ParseEmbedding(body, dialect, limits);
      });
  if (parsed == nullptr) return;
  Asked asked{&parsed->fields, "embed", {}, errors, {}};
  asked.requests.push_back(EngineRequest(parsed->fields, asked.task, std::move(parsed->inputs)));
  asked.write = [parsed, dialect](const std::vector<engine::Reply>& replies) {
    return WriteEmbeddings(replies, dialect, parsed->fields.model, parsed->base64);
  };
  Submit(call, std::move(asked));
}

void Rerank(const OpenAiCall& call, RerankDialect dialect) {
  const bool cohere = dialect == RerankDialect::kCohere;
  const auto parsed =
      Read<RerankRequest>(call, cohere ? RankErrors::kCohere : RankErrors::kJina,
                          [dialect](std::string_view body, const RequestLimits& limits) {
                            return ParseRerank(body, dialect, limits);
                          });
  if (parsed == nullptr) return;
  const RankErrors errors = cohere                                   ? RankErrors::kCohere
                            : parsed->dialect == RerankDialect::kTei ? RankErrors::kTei
                                                                     : RankErrors::kJina;
  Asked asked{&parsed->fields, "score", {}, errors, {}};
  asked.requests.push_back(RerankEngineRequest(*parsed));
  asked.write = [parsed](const std::vector<engine::Reply>& replies) {
    return WriteRanking(replies, *parsed);
  };
  Submit(call, std::move(asked));
}

std::vector<InferRequest> RequestsOf(const RankFields& fields, const char* task,
                                     std::vector<std::vector<tensor::NamedTensor>> asked) {
  std::vector<InferRequest> requests;
  requests.reserve(asked.size());
  for (std::vector<tensor::NamedTensor>& inputs : asked) {
    requests.push_back(EngineRequest(fields, task, std::move(inputs)));
  }
  return requests;
}

}  // namespace

void EmbedOpenAi(const OpenAiCall& call) {
  Embed(call, EmbeddingDialect::kOpenAi);
}

void EmbedTei(const OpenAiCall& call) {
  Embed(call, EmbeddingDialect::kTei);
}

void RerankJina(const OpenAiCall& call) {
  Rerank(call, RerankDialect::kJina);
}

void RerankCohere(const OpenAiCall& call) {
  Rerank(call, RerankDialect::kCohere);
}

void ScorePairs(const OpenAiCall& call) {
  const auto parsed = Read<ScoreRequest>(call, RankErrors::kOpenAi, ParseScore);
  if (parsed == nullptr) return;
  Asked asked{&parsed->fields, "score", {}, RankErrors::kOpenAi, {}};
  asked.requests = RequestsOf(parsed->fields, asked.task, std::move(parsed->asked));
  asked.write = [parsed](const std::vector<engine::Reply>& replies) {
    return WriteScores(replies, parsed->fields.model, parsed->prefixed);
  };
  Submit(call, std::move(asked));
}

void TokenizeText(const OpenAiCall& call) {
  const auto parsed = Read<TokenRequest>(call, RankErrors::kOpenAi, ParseTokenize);
  if (parsed == nullptr) return;
  Asked asked{&parsed->fields, "tokenize", {}, RankErrors::kOpenAi, {}};
  if (parsed->tei) asked.errors = RankErrors::kTei;
  asked.requests = RequestsOf(parsed->fields, asked.task, std::move(parsed->asked));
  asked.write = [parsed](const std::vector<engine::Reply>& replies) {
    return WriteTokens(replies, {parsed->tei, parsed->token_texts});
  };
  Submit(call, std::move(asked));
}

void DetokenizeIds(const OpenAiCall& call) {
  const auto parsed = Read<TokenRequest>(call, RankErrors::kOpenAi, ParseDetokenize);
  if (parsed == nullptr) return;
  Asked asked{&parsed->fields, "detokenize", {}, RankErrors::kOpenAi, {}};
  if (parsed->tei) asked.errors = RankErrors::kTei;
  asked.requests = RequestsOf(parsed->fields, asked.task, std::move(parsed->asked));
  asked.write = [parsed](const std::vector<engine::Reply>& replies) {
    return WriteTexts(replies, parsed->tei);
  };
  Submit(call, std::move(asked));
}

}  // namespace sluice::serve

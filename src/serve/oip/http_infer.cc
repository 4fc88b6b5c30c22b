#include "serve/oip/http_infer.h"

#include <memory>

#include "base/json.h"
#include "serve/http/compression.h"
#include "serve/oip/http_answers.h"
#include "serve/oip/infer_json.h"
#include "serve/oip/infer_response.h"
#include "serve/oip/submit.h"

namespace sluice::serve {

namespace {

// Receives the reply on whichever thread it is posted, writes the answer on the connection's own.
class InferSink : public engine::ReplySink,
                  public Delivery,
                  public std::enable_shared_from_this<InferSink> {
 public:
  InferSink(const Service& service, const HttpExchange& exchange, AnswerShape shape,
            std::string_view accept_encoding)
      : service_(service),
        exchange_(exchange),
        shape_(std::move(shape)),
        accept_encoding_(accept_encoding) {}

  void Post(engine::Reply reply) override {
    // HTTP has one answer: what a stream sends before its last word has no place in it.
    if (!reply.terminal) return;
    reply_ = std::move(reply);
    exchange_.io().Deliver(shared_from_this());
  }

  void Arrive() override {
    exchange_.RespondHere(Answer());
    reply_ = {};
  }

 private:
  HttpResponse Answer() {
    if (!reply_.status.ok()) return ErrorAnswer(reply_.status.error(), reply_.reason);
    base::Result<InferAnswer> answer = WriteInferAnswer(shape_, reply_, service_.shm);
    if (!answer.ok()) return ErrorAnswer(answer.error());
    HttpResponse response;
    if (answer->has_binary) {
      response.content_type = "application/octet-stream";
      response.headers =
          "Inference-Header-Content-Length: " + std::to_string(answer->json.size()) + "\r\n";
    }
    response.body = std::move(answer->json);
    response.blobs = std::move(answer->blobs);
    CompressAnswer(accept_encoding_, response);
    return response;
  }

  const Service& service_;
  const HttpExchange exchange_;
  const AnswerShape shape_;
  const std::string accept_encoding_;
  engine::Reply reply_;
};

base::JsonDocument& ThreadDocument(const RequestLimits& limits) {
  static thread_local base::JsonDocument document(base::JsonLimits{
      static_cast<size_t>(limits.json_depth_max), static_cast<size_t>(limits.tensor_bytes_max)});
  return document;
}

struct Decoded {
  InferBody body;
  std::string inflated;  // what body.bytes looks at, when the request was compressed
};

base::Status Decode(const Service& service, const HttpRequest& request, Decoded& decoded) {
  const ServerConfig& config = *service.config;
  decoded.body.bytes = request.body;
  decoded.body.owner = request.body_buffer;
  decoded.body.shm = service.shm;
  std::string_view coding_name = request.header("Content-Encoding");
  if (!coding_name.empty()) {
    ContentCoding coding = TRY(ParseContentCoding(coding_name));
    if (coding != ContentCoding::kIdentity) {
      decoded.inflated = TRY(Decompress(coding, request.body, config.http.body_bytes_max));
      decoded.body.bytes = decoded.inflated;
      decoded.body.owner = {};
    }
  }
  std::string_view length = request.header("Inference-Header-Content-Length");
  if (!length.empty()) {
    decoded.body.json_bytes =
        TRY(ParseHeaderLength(length, static_cast<int64_t>(decoded.body.bytes.size())));
  }
  return base::Ok();
}

base::Result<InferRequest> Parse(const Service& service, const HttpRequest& request,
                                 const Router::Pin& pin) {
  Decoded decoded;
  TRY(Decode(service, request, decoded));
  const RequestLimits& limits = service.config->request;
  bool raw = decoded.body.json_bytes == 0;
  InferRequest infer = raw ? TRY(RawInferBody(decoded.body, pin->description(), limits))
                           : TRY(ParseInferBody(decoded.body, limits, ThreadDocument(limits)));
  infer.model = pin;
  CallContext context;
  context.arrival = request.arrival;
  context.transport_timeout =
      std::min(ParseGrpcTimeout(request.header("grpc-timeout")),
               ParseMillis(request.header("x-envoy-expected-rq-timeout-ms")));
  context.ttft = ParseMillis(request.header("x-slo-ttft-ms"));
  context.tpot = ParseMillis(request.header("x-slo-tpot-ms"));
  context.trace_parent = request.header("traceparent");
  TRY(Ready(context, infer));
  return infer;
}

}  // namespace

void HandleInfer(Service& service, const HttpRequest& request, const HttpExchange& exchange,
                 std::string_view model, std::string_view version) {
  base::Result<Router::Pin> pin = service.router->Find(model, version);
  if (!pin.ok()) return exchange.RespondHere(ErrorAnswer(pin.error()));
  base::Result<InferRequest> infer = Parse(service, request, *pin);
  if (!infer.ok()) {
    (*pin)->malformed.Add();
    HttpResponse response = ErrorAnswer(infer.error());
    // A decompressed body above its bound is the client's payload, not the server's load.
    if (infer.error().code == base::Code::kResourceExhausted) response.status = 413;
    if (infer.error().code == base::Code::kUnimplemented &&
        request.has_header("Content-Encoding")) {
      response.headers += "Accept-Encoding: gzip, deflate\r\n";
    }
    return exchange.RespondHere(std::move(response));
  }
  AnswerShape shape{infer->request->id, std::move(infer->outputs), infer->binary_outputs, *pin};
  auto sink = std::make_shared<InferSink>(service, exchange, std::move(shape),
                                          request.header("Accept-Encoding"));
  exchange.Watch(infer->request->call);
  infer->request->sink = std::move(sink);
  PrepareAndSubmit(service, *pin, std::move(infer->request));
}

}  // namespace sluice::serve

#include "serve/grpc/infer_stream.h"

#include <deque>
#include <map>

#include "serve/grpc/infer_call.h"
#include "serve/grpc/status.h"
#include "serve/oip/infer_proto.h"
#include "serve/oip/submit.h"

namespace sluice::serve {

namespace {

class InferStream;

// Receives the replies of one request of a stream and brings them to the stream's lane.
class StreamSink : public engine::ReplySink, public std::enable_shared_from_this<StreamSink> {
 public:
  StreamSink(std::shared_ptr<GenericCall> call, InferStream& stream, int64_t number,
             AnswerShape shape)
      : call_(std::move(call)), stream_(stream), number_(number), shape_(std::move(shape)) {}
  void Post(engine::Reply reply) override;
  const AnswerShape& shape() const { return shape_; }
  int64_t number() const { return number_; }

 private:
  friend struct StreamReply;
  const std::shared_ptr<GenericCall> call_;  // which owns the stream
  InferStream& stream_;
  const int64_t number_;
  const AnswerShape shape_;
};

struct StreamReply : Delivery {
  void Arrive() override;
  std::shared_ptr<StreamSink> sink;
  engine::Reply reply;
};

class InferStream final : public CallBehaviour {
 public:
  explicit InferStream(GenericCall& call) : call_(call) {
    const auto& metadata = call.context().client_metadata();
    auto it = metadata.find("triton_grpc_error");
    errors_end_stream_ = it != metadata.end() && it->second == "true";
  }

  void Begin() override { ReadMore(); }

  void MessageCame(grpc::ByteBuffer* message) override {
    reading_ = false;
    if (message == nullptr) {
      half_closed_ = true;
      return FinishWhenDone();
    }
    request_.Clear();
    base::Status submitted =
        ParseMessage(*message, request_)
            ? Submit()
            : base::Status(base::InvalidArgument("the bytes are no ModelInferRequest"));
    if (!submitted.ok()) WriteError(submitted.error(), request_.id());
    ReadMore();
  }

  void Written(bool ok) override {
    writing_ = false;
    // What has left makes room for the next part of its answer.
    const auto writer = calls_.find(written_by_);
    if (writer != calls_.end()) writer->second->GrantCredit(1);
    if (!ok) Cancelled();
    WriteMore();
    ReadMore();
    FinishWhenDone();
  }

  void Cancelled() override {
    cancelled_ = true;
    half_closed_ = true;
    unsent_.clear();
    for (auto& [number, call] : calls_) call->Cancel();
    FinishWhenDone();
  }

  void ReplyCame(const StreamSink& sink, const engine::Reply& reply) {
    if (reply.terminal) calls_.erase(sink.number());
    if (!cancelled_) {
      if (reply.status.ok()) {
        Answer(sink, reply);
      } else {
        WriteError(reply.status.error(), sink.shape().id);
      }
    }
    ReadMore();
    FinishWhenDone();
  }

 private:
  base::Status Submit() {
    Service& service = call_.service();
    base::Time arrival = base::SystemClock::Get().Now();
    Router::Pin pin = TRY(service.router->Find(request_.model_name(), request_.model_version()));
    auto parse = [&]() -> base::Result<InferRequest> {
      InferRequest infer = TRY(ParseInferMessage(request_, service.config->request, service.shm));
      infer.model = pin;
      // The stream's deadline is not its requests'.
      CallContext context;
      context.arrival = arrival;
      context.takes_chunks = true;
      TRY(Ready(context, infer));
      return infer;
    };
    base::Result<InferRequest> infer = parse();
    if (!infer.ok()) {
      pin->malformed.Add();
      return std::move(infer).error();
    }
    int64_t number = ++last_number_;
    calls_[number] = infer->request->call;
    AnswerShape shape{infer->request->id, std::move(infer->outputs), true, pin};
    infer->request->sink =
        std::make_shared<StreamSink>(call_.shared_from_this(), *this, number, std::move(shape));
    PrepareAndSubmit(service, pin, std::move(infer->request));
    return base::Ok();
  }

  void Answer(const StreamSink& sink, const engine::Reply& reply) {
    const AnswerShape& shape = sink.shape();
    inference::ModelStreamInferResponse response;
    base::Status filled =
        FillInferResponse(shape, reply, call_.service().shm, *response.mutable_infer_response());
    if (!filled.ok()) return WriteError(filled.error(), shape.id);
    (*response.mutable_infer_response()->mutable_parameters())["triton_final_response"]
        .set_bool_param(reply.terminal);
    Enqueue(response, sink.number());
  }

  void WriteError(const base::Error& error, const std::string& id) {
    if (errors_end_stream_) {
      if (failure_.ok()) failure_ = ToGrpcStatus(error);
      return Cancelled();
    }
    inference::ModelStreamInferResponse response;
    response.set_error_message(error.message);
    response.mutable_infer_response()->set_id(id);
    Enqueue(response);
  }

  void Enqueue(const inference::ModelStreamInferResponse& response, int64_t number = 0) {
    unsent_.push_back({SerializeMessage(response), number});
    WriteMore();
  }

  void WriteMore() {
    if (writing_ || unsent_.empty() || call_.finished()) return;
    writing_ = true;
    Unsent next = std::move(unsent_.front());
    unsent_.pop_front();
    written_by_ = next.number;
    call_.Write(next.message);
  }

  void ReadMore() {
    if (reading_ || half_closed_ || call_.finished()) return;
    if (static_cast<int>(calls_.size() + unsent_.size()) >= kStreamInFlightMax) return;
    reading_ = true;
    call_.Read();
  }

  void FinishWhenDone() {
    if (!half_closed_ || writing_ || !unsent_.empty() || !calls_.empty()) return;
    grpc::Status status = !failure_.ok() ? failure_
                          : cancelled_   ? grpc::Status::CANCELLED
                                         : grpc::Status::OK;
    call_.Finish(status);
  }

  struct Unsent {
    grpc::ByteBuffer message;
    int64_t number;  // of the request that it answers, 0 where nobody waits for room
  };

  GenericCall& call_;
  inference::ModelInferRequest request_;
  bool errors_end_stream_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool half_closed_ = false;
  bool cancelled_ = false;
  grpc::Status failure_;
  int64_t last_number_ = 0;
  std::map<int64_t, std::shared_ptr<engine::Call>> calls_;  // not answered yet
  std::deque<Unsent> unsent_;
  int64_t written_by_ = 0;
};

void StreamSink::Post(engine::Reply reply) {
  auto delivery = std::make_shared<StreamReply>();
  delivery->sink = shared_from_this();
  delivery->reply = std::move(reply);
  call_->lane().Deliver(std::move(delivery));
}

void StreamReply::Arrive() {
  sink->stream_.ReplyCame(*sink, reply);
}

}  // namespace

std::unique_ptr<CallBehaviour> MakeInferStream(GenericCall& call) {
  return std::make_unique<InferStream>(call);
}

}  // namespace sluice::serve

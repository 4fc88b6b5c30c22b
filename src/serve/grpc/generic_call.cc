#include "serve/grpc/generic_call.h"

#include <google/protobuf/message.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include "serve/grpc/health.h"
#include "serve/grpc/infer_stream.h"
#include "serve/grpc/inflate.h"
#include "serve/grpc/status.h"
#include "serve/grpc/unary_methods.h"

namespace sluice::serve {

bool ParseMessage(grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  return grpc::SerializationTraits<google::protobuf::Message>::Deserialize(&bytes, &message).ok();
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  grpc::Status status =
      grpc::SerializationTraits<google::protobuf::Message>::Serialize(message, &bytes, &own);
  CHECK(status.ok()) << status.error_message();
  return bytes;
}

void GenericCall::Await(const Environment& environment) {
  auto call = std::make_shared<GenericCall>(environment);
  call->self_ = call;
  environment.lane->CallAwaited();
  call->context_.AsyncNotifyWhenDone(&call->ended_);
  grpc::ServerCompletionQueue& queue = environment.lane->queue();
  environment.generic->RequestCall(&call->context_, &call->stream_, &queue, &queue, &call->came_);
}

void GenericCall::Came(bool ok) {
  if (!ok) {
    // The server shuts down; the call never came, and so its end does not either.
    return Release();
  }
  Await(environment_);
  environment_.counters->in_flight.fetch_add(1, std::memory_order_relaxed);
  completions_ = 1;  // its end
  const std::string& method = context_.method();
  if (method == kInferStreamMethod) {
    behaviour_ = MakeInferStream(*this);
  } else if (method == kHealthWatchMethod) {
    behaviour_ = MakeHealthWatch(*this);
  } else {
    behaviour_ = MakeUnary(*this, method);
  }
  if (behaviour_ == nullptr)
    return Finish({grpc::StatusCode::UNIMPLEMENTED, "no such method: " + method});
  behaviour_->Begin();
}

void GenericCall::Read() {
  ++completions_;
  message_.Clear();
  stream_.Read(&message_, &read_);
}

void GenericCall::Write(const grpc::ByteBuffer& message) {
  ++completions_;
  stream_.Write(message, &written_);
}

void GenericCall::Finish(const grpc::Status& status) {
  if (finishing_) return;
  finishing_ = true;
  ++completions_;
  stream_.Finish(status, &finished_);
}

void GenericCall::FinishWith(const grpc::ByteBuffer& message) {
  if (finishing_) return;
  finishing_ = true;
  ++completions_;
  stream_.WriteAndFinish(message, {}, grpc::Status::OK, &finished_);
}

void GenericCall::ReadDone(bool ok) {
  if (ok && !finishing_) {
    const base::Status inflated = Inflate(message_, service().config->grpc_message_bytes_max);
    if (!inflated.ok()) {
      behaviour_->Cancelled();
      Finish(ToGrpcStatus(inflated.error()));
    }
  }
  if (!finishing_) behaviour_->MessageCame(ok ? &message_ : nullptr);
  CompletionCame();
}

void GenericCall::WriteDone(bool ok) {
  behaviour_->Written(ok);
  CompletionCame();
}

void GenericCall::Finished(bool) {
  environment_.counters->in_flight.fetch_sub(1, std::memory_order_relaxed);
  CompletionCame();
}

void GenericCall::Ended(bool) {
  if (!finishing_ && context_.IsCancelled() && behaviour_ != nullptr) behaviour_->Cancelled();
  CompletionCame();
}

void GenericCall::CompletionCame() {
  if (--completions_ == 0 && finishing_) Release();
}

void GenericCall::Release() {
  environment_.lane->CallEnded();
  self_ = nullptr;
}

}  // namespace sluice::serve

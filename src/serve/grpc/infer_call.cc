#include "serve/grpc/infer_call.h"

#include <grpcpp/impl/codegen/rpc_service_method.h>

#include <chrono>

#include "serve/grpc/generic_call.h"
#include "serve/grpc/inflate.h"
#include "serve/grpc/status.h"
#include "serve/oip/infer_proto.h"
#include "serve/oip/submit.h"

namespace sluice::serve {

InferMethod::InferMethod() {
  AddMethod(new grpc::internal::RpcServiceMethod("/inference.GRPCInferenceService/ModelInfer",
                                                 grpc::internal::RpcMethod::NORMAL_RPC, nullptr));
  MarkMethodAsync(0);
}

CallContext ContextOf(const grpc::ServerContext& context, base::Time arrival) {
  CallContext out;
  out.arrival = arrival;
  auto deadline = context.deadline();
  if (deadline != std::chrono::system_clock::time_point::max()) {
    auto left = deadline - std::chrono::system_clock::now();
    // A deadline far in the future says no more than none, and must not overflow.
    constexpr auto kFar = std::chrono::hours(24 * 365);
    if (left < kFar)
      out.transport_timeout = {std::chrono::duration_cast<std::chrono::nanoseconds>(left).count()};
  }
  const auto& metadata = context.client_metadata();
  if (auto it = metadata.find("x-envoy-expected-rq-timeout-ms"); it != metadata.end()) {
    base::Duration envoy = ParseMillis({it->second.data(), it->second.size()});
    out.transport_timeout = std::min(out.transport_timeout, envoy);
  }
  if (auto it = metadata.find("traceparent"); it != metadata.end()) {
    out.trace_parent = {it->second.data(), it->second.size()};
  }
  return out;
}

void InferCall::Await(const Environment& environment) {
  auto call = std::make_shared<InferCall>(environment);
  call->self_ = call;
  environment.lane->CallAwaited();
  call->context_.AsyncNotifyWhenDone(&call->ended_);
  environment.method->Request(&call->context_, &call->message_, &call->writer_,
                              &environment.lane->queue(), &call->came_);
}

InferCall::InferCall(const Environment& environment)
    : environment_(environment), writer_(&context_) {}

void InferCall::Came(bool ok) {
  if (!ok) {
    // The server shuts down; the call never came, and so its end does not either.
    return Release();
  }
  Await(environment_);
  environment_.counters->in_flight.fetch_add(1, std::memory_order_relaxed);
  completions_ = 2;
  base::Status submitted = Submit();
  if (!submitted.ok()) Finish(ToGrpcStatus(submitted.error()));
}

base::Status InferCall::Submit() {
  Service& service = *environment_.service;
  base::Time arrival = base::SystemClock::Get().Now();
  TRY(Inflate(message_, service.config->grpc_message_bytes_max));
  if (!ParseMessage(message_, request_)) {
    return base::InvalidArgument("the bytes are no ModelInferRequest");
  }
  message_.Clear();
  Router::Pin pin = TRY(service.router->Find(request_.model_name(), request_.model_version()));
  auto parse = [&]() -> base::Result<InferRequest> {
    InferRequest infer = TRY(ParseInferMessage(request_, service.config->request, service.shm));
    infer.model = pin;
    TRY(Ready(ContextOf(context_, arrival), infer));
    return infer;
  };
  base::Result<InferRequest> infer = parse();
  if (!infer.ok()) {
    pin->malformed.Add();
    return std::move(infer).error();
  }
  call_ = infer->request->call;
  shape_ = {infer->request->id, std::move(infer->outputs), true, pin};
  infer->request->sink = shared_from_this();
  PrepareAndSubmit(service, pin, std::move(infer->request));
  return base::Ok();
}

void InferCall::Post(engine::Reply reply) {
  if (!reply.terminal) return;
  reply_ = std::move(reply);
  environment_.lane->Deliver(shared_from_this());
}

void InferCall::Arrive() {
  if (!reply_.status.ok()) {
    if (*reply_.reason != '\0') context_.AddTrailingMetadata("x-sluice-reason", reply_.reason);
    return Finish(ToGrpcStatus(reply_.status.error()));
  }
  base::Status filled = FillInferResponse(shape_, reply_, environment_.service->shm, response_);
  reply_ = {};
  Finish(ToGrpcStatus(filled));
}

void InferCall::Finish(const grpc::Status& status) {
  if (status.ok()) {
    writer_.Finish(response_, status, &finished_);
  } else {
    writer_.FinishWithError(status, &finished_);
  }
}

void InferCall::Finished(bool) {
  environment_.counters->in_flight.fetch_sub(1, std::memory_order_relaxed);
  if (--completions_ == 0) Release();
}

void InferCall::Ended(bool) {
  if (call_ != nullptr && context_.IsCancelled()) call_->Cancel();
  if (--completions_ == 0) Release();
}

void InferCall::Release() {
  environment_.lane->CallEnded();
  self_ = nullptr;
}

}  // namespace sluice::serve

// ModelInfer: the one unary call that must be fast. A registered method, so that its message comes
// with its headers.
#pragma once

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_unary_call.h>

#include <memory>
#include <string>

#include "engine/request.h"
#include "serve/delivery.h"
#include "serve/grpc/lane.h"
#include "serve/grpc/server.h"
#include "serve/oip/infer_response.h"
#include "serve/proto/inference.pb.h"
#include "serve/service.h"

namespace sluice::serve {

// The method alone, asynchronous; every other method goes through the generic service.
class InferMethod : public grpc::Service {
 public:
  InferMethod();
  // The message as it came: see inflate.h.
  void Request(grpc::ServerContext* context, grpc::ByteBuffer* message,
               grpc::ServerAsyncResponseWriter<inference::ModelInferResponse>* writer,
               grpc::ServerCompletionQueue* queue, GrpcTag* tag) {
    RequestAsyncUnary(0, context, message, writer, queue, queue, tag);
  }
};

// One call, from waiting for it to its last completion. On its lane's thread; the engine holds it
// as sink meanwhile.
class InferCall : public engine::ReplySink,
                  public Delivery,
                  public std::enable_shared_from_this<InferCall> {
 public:
  struct Environment {
    Service* service = nullptr;
    InferMethod* method = nullptr;
    GrpcLane* lane = nullptr;
    GrpcCounters* counters = nullptr;
  };
  // Waits for the next call on this lane.
  static void Await(const Environment& environment);
  explicit InferCall(const Environment& environment);

  void Post(engine::Reply reply) override;
  void Arrive() override;

 private:
  void Came(bool ok);
  void Finished(bool ok);
  void Ended(bool ok);
  void Release();
  base::Status Submit();
  void Finish(const grpc::Status& status);

  const Environment environment_;
  grpc::ServerContext context_;
  grpc::ByteBuffer message_;
  inference::ModelInferRequest request_;
  inference::ModelInferResponse response_;
  grpc::ServerAsyncResponseWriter<inference::ModelInferResponse> writer_;
  std::shared_ptr<engine::Call> call_;
  AnswerShape shape_;
  engine::Reply reply_;
  int completions_ = 0;  // still to come, while self_ keeps this alive
  std::shared_ptr<InferCall> self_;
  MemberTag<InferCall, &InferCall::Came> came_{this};
  MemberTag<InferCall, &InferCall::Finished> finished_{this};
  MemberTag<InferCall, &InferCall::Ended> ended_{this};
};

// What of a call's metadata decides its deadline. `context` is a ServerContext or
// GenericServerContext.
CallContext ContextOf(const grpc::ServerContext& context, base::Time arrival);

}  // namespace sluice::serve

// Every call but ModelInfer: comes through the generic service and gets the behaviour that its
// method's name asks for.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <optional>

#include "serve/grpc/lane.h"
#include "serve/grpc/server.h"
#include "serve/service.h"

namespace sluice::serve {

class GenericCall;

// What a method does with its call. Everything on the call's lane.
class CallBehaviour {
 public:
  virtual ~CallBehaviour() = default;
  virtual void Begin() = 0;
  // A message came, or (null) no further one will.
  virtual void MessageCame(grpc::ByteBuffer* message) = 0;
  virtual void Written(bool ok) = 0;
  // The client went away or its deadline passed. Replies may still arrive; Finish must still be
  // called.
  virtual void Cancelled() = 0;
};

// One call, from waiting for it to its last completion; keeps itself until then.
class GenericCall : public std::enable_shared_from_this<GenericCall> {
 public:
  struct Environment {
    Service* service = nullptr;
    grpc::AsyncGenericService* generic = nullptr;
    GrpcLane* lane = nullptr;
    GrpcCounters* counters = nullptr;
  };
  // Waits for the next call on this lane.
  static void Await(const Environment& environment);
  explicit GenericCall(const Environment& environment)
      : environment_(environment), stream_(&context_) {}

  // For behaviours, on the lane. One Read and one Write at a time; Finish once, with nothing being
  // written.
  void Read();
  void Write(const grpc::ByteBuffer& message);
  void Finish(const grpc::Status& status);
  void FinishWith(const grpc::ByteBuffer& message);

  grpc::GenericServerContext& context() { return context_; }
  Service& service() { return *environment_.service; }
  GrpcLane& lane() { return *environment_.lane; }
  bool finished() const { return finishing_; }
  CallBehaviour* behaviour() { return behaviour_.get(); }

 private:
  void Came(bool ok);
  void ReadDone(bool ok);
  void WriteDone(bool ok);
  void Finished(bool ok);
  void Ended(bool ok);
  void CompletionCame();
  void Release();

  const Environment environment_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer message_;
  std::unique_ptr<CallBehaviour> behaviour_;
  bool finishing_ = false;
  int completions_ = 0;  // still to come
  std::shared_ptr<GenericCall> self_;
  MemberTag<GenericCall, &GenericCall::Came> came_{this};
  MemberTag<GenericCall, &GenericCall::ReadDone> read_{this};
  MemberTag<GenericCall, &GenericCall::WriteDone> written_{this};
  MemberTag<GenericCall, &GenericCall::Finished> finished_{this};
  MemberTag<GenericCall, &GenericCall::Ended> ended_{this};
};

// Messages as bytes and back. Parse fails on what is no such message.
bool ParseMessage(grpc::ByteBuffer& bytes, google::protobuf::Message& message);
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace sluice::serve

#include "serve/client/grpc_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>

namespace sluice::serve {

namespace {

base::Code CodeOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED:
      return base::Code::kCancelled;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::FAILED_PRECONDITION:
      return base::Code::kInvalidArgument;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return base::Code::kDeadlineExceeded;
    case grpc::StatusCode::NOT_FOUND:
      return base::Code::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS:
      return base::Code::kAlreadyExists;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return base::Code::kPermissionDenied;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return base::Code::kResourceExhausted;
    case grpc::StatusCode::UNIMPLEMENTED:
      return base::Code::kUnimplemented;
    case grpc::StatusCode::UNAVAILABLE:
      return base::Code::kUnavailable;
    default:
      return base::Code::kInternal;
  }
}

}  // namespace

struct GrpcClient::Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::string reason;
};

GrpcClient::GrpcClient(const std::string& host, int64_t port)
    : connection_(std::make_unique<Connection>()) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(INT32_MAX);
  arguments.SetMaxSendMessageSize(INT32_MAX);
  // Each client is a connection of its own: otherwise channels to one address would share theirs.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  connection_->channel = grpc::CreateCustomChannel(host + ":" + std::to_string(port),
                                                   grpc::InsecureChannelCredentials(), arguments);
}

GrpcClient::~GrpcClient() = default;
GrpcClient::GrpcClient(GrpcClient&&) noexcept = default;

const std::string& GrpcClient::last_reason() const {
  return connection_->reason;
}

base::Status GrpcClient::Infer(const inference::ModelInferRequest& request,
                               inference::ModelInferResponse& response, base::Duration timeout) {
  return Call("ModelInfer", request, response, timeout);
}

base::Status GrpcClient::Call(const std::string& method, const google::protobuf::Message& request,
                              google::protobuf::Message& response, base::Duration timeout) {
  std::string path = method[0] == '/' ? method : "/inference.GRPCInferenceService/" + method;
  grpc::internal::RpcMethod rpc(path.c_str(), grpc::internal::RpcMethod::NORMAL_RPC);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::nanoseconds(timeout.ns));
  grpc::Status status =
      grpc::internal::BlockingUnaryCall<google::protobuf::Message, google::protobuf::Message,
                                        google::protobuf::Message, google::protobuf::Message>(
          connection_->channel.get(), rpc, &context, request, &response);
  connection_->reason.clear();
  if (status.ok()) return base::Ok();
  const auto& trailers = context.GetServerTrailingMetadata();
  if (auto it = trailers.find("x-sluice-reason"); it != trailers.end()) {
    connection_->reason.assign(it->second.data(), it->second.size());
  }
  return base::Error{CodeOf(status.error_code()), status.error_message()};
}

}  // namespace sluice::serve

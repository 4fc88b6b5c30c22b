#include "serve/grpc/server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>

#include "serve/grpc/generic_call.h"
#include "serve/grpc/infer_call.h"

namespace sluice::serve {

namespace {
// Calls that each lane waits for at once; a call that comes is replaced at once.
constexpr int kInferSlots = 32;
constexpr int kGenericSlots = 4;
}  // namespace

struct GrpcServer::Running {
  InferMethod infer;
  grpc::AsyncGenericService generic;
  std::unique_ptr<grpc::Server> server;
  std::vector<std::unique_ptr<GrpcLane>> lanes;
};

GrpcServer::GrpcServer(Options options, Service& service) : options_(options), service_(service) {}

GrpcServer::~GrpcServer() {
  Stop({});
}

base::Status GrpcServer::Start() {
  const ServerConfig& config = *service_.config;
  auto running = std::make_unique<Running>();
  grpc::ServerBuilder builder;
  int port = 0;
  std::string address =
      config.host.find(':') == std::string::npos ? config.host : "[" + config.host + "]";
  address += ":" + std::to_string(options_.port);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<int64_t>(config.grpc_message_bytes_max, INT32_MAX)));
  builder.SetMaxSendMessageSize(INT32_MAX);
  builder.AddChannelArgument(
      GRPC_ARG_MAX_CONCURRENT_STREAMS,
      static_cast<int>(std::min<int64_t>(config.grpc_streams_max, INT32_MAX)));
  builder.AddChannelArgument(
      GRPC_ARG_MAX_METADATA_SIZE,
      static_cast<int>(std::min<int64_t>(config.http.header_bytes_max, INT32_MAX)));
  // Two servers on one port would share its calls in silence.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // The library inflates a message before it looks at its size; we stop at the limit (inflate.h).
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  if (!config.grpc_accept_compression) {
    builder.AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                               1 << GRPC_COMPRESS_NONE);
  }
  builder.RegisterService(&running->infer);
  builder.RegisterAsyncGenericService(&running->generic);
  for (int64_t i = 0; i < std::max<int64_t>(1, options_.threads); ++i) {
    running->lanes.push_back(std::make_unique<GrpcLane>(builder.AddCompletionQueue()));
  }
  running->server = builder.BuildAndStart();
  if (running->server == nullptr || port == 0) {
    for (std::unique_ptr<GrpcLane>& lane : running->lanes) {
      lane->Start();
      lane->Join();
    }
    return base::Unavailable("cannot listen on " + address + " for gRPC");
  }
  port_ = port;
  running_ = std::move(running);
  for (std::unique_ptr<GrpcLane>& lane : running_->lanes) {
    for (int i = 0; i < kInferSlots; ++i) {
      InferCall::Await({&service_, &running_->infer, lane.get(), &counters_});
    }
    for (int i = 0; i < kGenericSlots; ++i) {
      GenericCall::Await({&service_, &running_->generic, lane.get(), &counters_});
    }
    lane->Start();
  }
  return base::Ok();
}

void GrpcServer::Stop(base::Duration grace) {
  if (running_ == nullptr) return;
  auto until = std::chrono::system_clock::now() +
               std::chrono::nanoseconds(std::min(grace, base::Duration::Seconds(24 * 3600)).ns);
  running_->server->Shutdown(until);
  for (std::unique_ptr<GrpcLane>& lane : running_->lanes) lane->Join();
  running_ = nullptr;
}

}  // namespace sluice::serve

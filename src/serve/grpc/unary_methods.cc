#include "serve/grpc/unary_methods.h"

#include <functional>

#include "serve/grpc/health.h"
#include "serve/grpc/status.h"
#include "serve/oip/load_request.h"
#include "serve/oip/metadata.h"
#include "serve/oip/shm_regions.h"
#include "serve/proto/inference.pb.h"

namespace sluice::serve {

namespace {

// Answers a call later, from any thread.
using Later = std::function<void(base::Status)>;

struct Context {
  Service& service;
  // Set by a method that answers later: the result of the method itself is then not looked at.
  bool later = false;
  std::function<Later()> promise;
};

base::Status ServerLive(Context&, const inference::ServerLiveRequest&,
                        inference::ServerLiveResponse& out) {
  out.set_live(true);
  return base::Ok();
}

base::Status ServerReady(Context& c, const inference::ServerReadyRequest&,
                         inference::ServerReadyResponse& out) {
  out.set_ready(c.service.ready());
  return base::Ok();
}

base::Status ModelReady(Context& c, const inference::ModelReadyRequest& in,
                        inference::ModelReadyResponse& out) {
  out.set_ready(c.service.router->Find(in.name(), in.version()).ok() &&
                !c.service.draining.load(std::memory_order_relaxed));
  return base::Ok();
}

base::Status ServerMetadata(Context& c, const inference::ServerMetadataRequest&,
                            inference::ServerMetadataResponse& out) {
  FillServerMetadata(c.service, out);
  return base::Ok();
}

base::Status ModelMetadata(Context& c, const inference::ModelMetadataRequest& in,
                           inference::ModelMetadataResponse& out) {
  return FillModelMetadata(c.service, in.name(), in.version(), out);
}

base::Status ModelConfig(Context& c, const inference::ModelConfigRequest& in,
                         inference::ModelConfigResponse& out) {
  Router::Pin pin = TRY(c.service.router->Find(in.name(), in.version()));
  *out.mutable_config() = *pin->config;
  return base::Ok();
}

base::Status ModelStatistics(Context& c, const inference::ModelStatisticsRequest& in,
                             inference::ModelStatisticsResponse& out) {
  return FillStatistics(c.service, in.name(), in.version(), out);
}

base::Status CheckRepository(const std::string& repository) {
  if (repository.empty()) return base::Ok();
  return base::Unimplemented("'repository_name' specification is not supported");
}

base::Status RepositoryIndex(Context& c, const inference::RepositoryIndexRequest& in,
                             inference::RepositoryIndexResponse& out) {
  TRY(CheckRepository(in.repository_name()));
  FillIndex(c.service, in.ready(), out);
  return base::Ok();
}

base::Status CheckName(const std::string& name) {
  if (IsModelName(name)) return base::Ok();
  return base::InvalidArgument("a model's name is 1 to 128 of A-Z a-z 0-9 _ . -, no dot first");
}

base::Status Load(Context& c, const inference::RepositoryModelLoadRequest& in,
                  inference::RepositoryModelLoadResponse&) {
  TRY(CheckRepository(in.repository_name()));
  TRY(CheckName(in.model_name()));
  LoadOverride load;
  using Parameter = inference::ModelRepositoryParameter;
  for (const auto& [key, value] : in.parameters()) {
    bool text = value.parameter_choice_case() == Parameter::kStringParam;
    if (!text && value.parameter_choice_case() != Parameter::kBytesParam) {
      return base::InvalidArgument("load parameter '" + key.substr(0, 128) +
                                   "': expected a string or bytes");
    }
    TRY(TakeLoadParameter(key, text ? value.string_param() : value.bytes_param(), load));
  }
  TRY(CheckLoad(load, *c.service.config));
  c.later = true;
  c.service.control->Load(in.model_name(), std::move(load), c.promise());
  return base::Ok();
}

base::Status Unload(Context& c, const inference::RepositoryModelUnloadRequest& in,
                    inference::RepositoryModelUnloadResponse&) {
  TRY(CheckRepository(in.repository_name()));
  TRY(CheckName(in.model_name()));
  for (const auto& [key, value] : in.parameters()) {
    if (key != "unload_dependents") {
      return base::InvalidArgument("unrecognized unload parameter '" + key.substr(0, 128) + "'");
    }
  }
  c.later = true;
  c.service.control->Unload(in.model_name(), c.promise());
  return base::Ok();
}

base::Result<ShmRegions*> Shm(Context& c) {
  if (c.service.shm == nullptr)
    return base::Unimplemented("client shared memory is off: see --allow-client-shm");
  return c.service.shm;
}

base::Status ShmStatus(Context& c, const inference::SystemSharedMemoryStatusRequest& in,
                       inference::SystemSharedMemoryStatusResponse& out) {
  ShmRegions* shm = TRY(Shm(c));
  std::vector<ShmRegions::Region> regions = TRY(shm->Status(in.name()));
  for (const ShmRegions::Region& r : regions) {
    auto& status = (*out.mutable_regions())[r.name];
    status.set_name(r.name);
    status.set_key(r.key);
    status.set_offset(static_cast<uint64_t>(r.offset));
    status.set_byte_size(static_cast<uint64_t>(r.bytes));
  }
  return base::Ok();
}

base::Status ShmRegister(Context& c, const inference::SystemSharedMemoryRegisterRequest& in,
                         inference::SystemSharedMemoryRegisterResponse&) {
  ShmRegions* shm = TRY(Shm(c));
  if (in.offset() > INT64_MAX || in.byte_size() > INT64_MAX) {
    return base::InvalidArgument("offset and byte_size: expected at most 2^63 - 1");
  }
  return shm->Register({in.name(), in.key(), static_cast<int64_t>(in.offset()),
                        static_cast<int64_t>(in.byte_size())});
}

base::Status ShmUnregister(Context& c, const inference::SystemSharedMemoryUnregisterRequest& in,
                           inference::SystemSharedMemoryUnregisterResponse&) {
  ShmRegions* shm = TRY(Shm(c));
  shm->Unregister(in.name());
  return base::Ok();
}

template <class In, class Out>
base::Status NotHere(Context&, const In&, Out&) {
  return base::Unimplemented(In::descriptor()->name() + " is not supported by this server");
}

base::Status HealthCheck(Context& c, const grpc::health::v1::HealthCheckRequest& in,
                         grpc::health::v1::HealthCheckResponse& out) {
  HealthStatus status = HealthOf(c.service, in.service());
  if (status == grpc::health::v1::HealthCheckResponse::SERVICE_UNKNOWN)
    return base::NotFound("unknown service");
  out.set_status(status);
  return base::Ok();
}

// --- From bytes to a typed function and back.

struct Method {
  const char* name;
  void (*handle)(GenericCall& call, grpc::ByteBuffer& bytes);
};

Later PromiseOf(GenericCall& call, std::shared_ptr<google::protobuf::Message> out) {
  struct Answer : Delivery {
    void Arrive() override {
      if (status.ok()) {
        call->FinishWith(SerializeMessage(*out));
      } else {
        call->Finish(ToGrpcStatus(status.error()));
      }
    }
    std::shared_ptr<GenericCall> call;
    std::shared_ptr<google::protobuf::Message> out;
    base::Status status;
  };
  auto answer = std::make_shared<Answer>();
  answer->call = call.shared_from_this();
  answer->out = std::move(out);
  return [answer](base::Status status) {
    answer->status = std::move(status);
    answer->call->lane().Deliver(answer);
  };
}

template <class In, class Out, base::Status (*kMethod)(Context&, const In&, Out&)>
void Handle(GenericCall& call, grpc::ByteBuffer& bytes) {
  In in;
  if (!ParseMessage(bytes, in)) {
    return call.Finish(
        {grpc::StatusCode::INVALID_ARGUMENT, "the bytes are no " + In::descriptor()->name()});
  }
  auto out = std::make_shared<Out>();
  Context context{call.service(), false, [&] { return PromiseOf(call, out); }};
  base::Status status = kMethod(context, in, *out);
  if (context.later) return;
  if (!status.ok()) return call.Finish(ToGrpcStatus(status.error()));
  call.FinishWith(SerializeMessage(*out));
}

#define SLUICE_METHOD(method, in, function)                               \
  {                                                                       \
    "/inference.GRPCInferenceService/" method,                            \
        Handle<inference::in##Request, inference::in##Response, function> \
  }
#define SLUICE_NOT_HERE(in) \
  SLUICE_METHOD(#in, in, (NotHere<inference::in##Request, inference::in##Response>))

constexpr Method kMethods[] = {
    SLUICE_METHOD("ServerLive", ServerLive, ServerLive),
    SLUICE_METHOD("ServerReady", ServerReady, ServerReady),
    SLUICE_METHOD("ModelReady", ModelReady, ModelReady),
    SLUICE_METHOD("ServerMetadata", ServerMetadata, ServerMetadata),
    SLUICE_METHOD("ModelMetadata", ModelMetadata, ModelMetadata),
    SLUICE_METHOD("ModelConfig", ModelConfig, ModelConfig),
    SLUICE_METHOD("ModelStatistics", ModelStatistics, ModelStatistics),
    SLUICE_METHOD("RepositoryIndex", RepositoryIndex, RepositoryIndex),
    SLUICE_METHOD("RepositoryModelLoad", RepositoryModelLoad, Load),
    SLUICE_METHOD("RepositoryModelUnload", RepositoryModelUnload, Unload),
    SLUICE_METHOD("SystemSharedMemoryStatus", SystemSharedMemoryStatus, ShmStatus),
    SLUICE_METHOD("SystemSharedMemoryRegister", SystemSharedMemoryRegister, ShmRegister),
    SLUICE_METHOD("SystemSharedMemoryUnregister", SystemSharedMemoryUnregister, ShmUnregister),
    SLUICE_NOT_HERE(CudaSharedMemoryStatus),
    SLUICE_NOT_HERE(CudaSharedMemoryRegister),
    SLUICE_NOT_HERE(CudaSharedMemoryUnregister),
    SLUICE_NOT_HERE(TraceSetting),
    SLUICE_NOT_HERE(LogSettings),
    {"/grpc.health.v1.Health/Check", Handle<grpc::health::v1::HealthCheckRequest,
                                            grpc::health::v1::HealthCheckResponse, HealthCheck>},
};

class Unary final : public CallBehaviour {
 public:
  Unary(GenericCall& call, const Method& method) : call_(call), method_(method) {}
  void Begin() override { call_.Read(); }
  void MessageCame(grpc::ByteBuffer* message) override {
    if (message == nullptr)
      return call_.Finish({grpc::StatusCode::INVALID_ARGUMENT, "expected a message"});
    method_.handle(call_, *message);
  }
  void Written(bool) override {}
  // A verb under way is not undone: its answer finds nobody.
  void Cancelled() override {}

 private:
  GenericCall& call_;
  const Method& method_;
};

}  // namespace

std::unique_ptr<CallBehaviour> MakeUnary(GenericCall& call, const std::string& method) {
  for (const Method& candidate : kMethods) {
    if (method == candidate.name) return std::make_unique<Unary>(call, candidate);
  }
  return nullptr;
}

}  // namespace sluice::serve

#include "serve/grpc/health.h"

#include <grpcpp/alarm.h>

#include <chrono>

namespace sluice::serve {

using grpc::health::v1::HealthCheckResponse;

HealthStatus HealthOf(const Service& service, const std::string& name) {
  if (name.empty() || name == "inference.GRPCInferenceService") {
    return service.ready() ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
  }
  if (!service.router->Find(name, "").ok()) return HealthCheckResponse::SERVICE_UNKNOWN;
  bool draining = service.draining.load(std::memory_order_relaxed);
  return draining ? HealthCheckResponse::NOT_SERVING : HealthCheckResponse::SERVING;
}

namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(200);

// Looks every now and then and writes what changed. The alarm keeps the call alive until it has
// rung.
class HealthWatch final : public CallBehaviour, public GrpcTag {
 public:
  explicit HealthWatch(GenericCall& call) : call_(call) {}

  void Begin() override { call_.Read(); }
  void MessageCame(grpc::ByteBuffer* message) override {
    grpc::health::v1::HealthCheckRequest request;
    if (message == nullptr || !ParseMessage(*message, request)) {
      return call_.Finish({grpc::StatusCode::INVALID_ARGUMENT, "expected a HealthCheckRequest"});
    }
    name_ = request.service();
    Look();
  }
  void Written(bool ok) override {
    if (!ok || cancelled_) return call_.Finish(grpc::Status::CANCELLED);
    Sleep();
  }
  void Cancelled() override {
    cancelled_ = true;
    if (keep_ != nullptr) alarm_.Cancel();
  }
  void Done(bool) override {
    std::shared_ptr<GenericCall> keep = std::move(keep_);
    if (cancelled_) return call_.Finish(grpc::Status::CANCELLED);
    Look();
  }

 private:
  void Look() {
    bool draining = call_.service().draining.load(std::memory_order_relaxed);
    HealthStatus status = HealthOf(call_.service(), name_);
    if (static_cast<int>(status) != last_) {
      last_ = status;
      HealthCheckResponse response;
      response.set_status(status);
      return call_.Write(SerializeMessage(response));
    }
    // What drained has nothing further to tell, and must not keep the server from ending.
    if (draining) return call_.Finish({grpc::StatusCode::UNAVAILABLE, "the server is draining"});
    Sleep();
  }
  void Sleep() {
    keep_ = call_.shared_from_this();
    alarm_.Set(&call_.lane().queue(), std::chrono::system_clock::now() + kLookEvery,
               static_cast<GrpcTag*>(this));
  }

  GenericCall& call_;
  std::string name_;
  int last_ = -1;
  bool cancelled_ = false;
  grpc::Alarm alarm_;
  std::shared_ptr<GenericCall> keep_;
};

}  // namespace

std::unique_ptr<CallBehaviour> MakeHealthWatch(GenericCall& call) {
  return std::make_unique<HealthWatch>(call);
}

}  // namespace sluice::serve

// grpc.health.v1: what Check answers, and Watch, which tells every change.
#pragma once

#include <memory>
#include <string>

#include "serve/grpc/generic_call.h"
#include "serve/proto/health.pb.h"

namespace sluice::serve {

using HealthStatus = grpc::health::v1::HealthCheckResponse::ServingStatus;

inline constexpr const char* kHealthWatchMethod = "/grpc.health.v1.Health/Watch";

// Of the whole server (empty), of the inference service by its name, or of a model by its name.
HealthStatus HealthOf(const Service& service, const std::string& name);

std::unique_ptr<CallBehaviour> MakeHealthWatch(GenericCall& call);

}  // namespace sluice::serve

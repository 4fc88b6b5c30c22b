// ModelStreamInfer: many requests of one client at once over one stream, answered as they finish.
#pragma once

#include <memory>

#include "serve/grpc/generic_call.h"

namespace sluice::serve {

inline constexpr const char* kInferStreamMethod =
    "/inference.GRPCInferenceService/ModelStreamInfer";

// How many requests and unsent answers one stream may have; beyond, its client is not read.
inline constexpr int kStreamInFlightMax = 64;

std::unique_ptr<CallBehaviour> MakeInferStream(GenericCall& call);

}  // namespace sluice::serve

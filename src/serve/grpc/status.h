// Our errors as gRPC statuses.
#pragma once

#include <grpcpp/support/status.h>

#include "base/result.h"
#include "serve/status_codes.h"

namespace sluice::serve {

inline grpc::Status ToGrpcStatus(const base::Error& error) {
  return {static_cast<grpc::StatusCode>(GrpcStatusOf(error.code)), error.message};
}

inline grpc::Status ToGrpcStatus(const base::Status& status) {
  return status.ok() ? grpc::Status::OK : ToGrpcStatus(status.error());
}

}  // namespace sluice::serve

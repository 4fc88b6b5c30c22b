// The unary methods that need not be fast: metadata, health, the repository, shared memory. One
// table.
#pragma once

#include <memory>
#include <string>

#include "serve/grpc/generic_call.h"

namespace sluice::serve {

// Null: there is no such method.
std::unique_ptr<CallBehaviour> MakeUnary(GenericCall& call, const std::string& method);

}  // namespace sluice::serve

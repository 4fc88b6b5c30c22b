// Compressed gRPC messages, with a bound on what may come out: the library's own inflating has
// none, so it is switched off and messages come here as they were sent.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "base/result.h"

namespace sluice::serve {

// Puts what `message` (gzip, deflate or as it is) holds in its place. kResourceExhausted as soon as
// more than bytes_max come out, kInvalidArgument for what is no whole stream.
base::Status Inflate(grpc::ByteBuffer& message, int64_t bytes_max);

}  // namespace sluice::serve

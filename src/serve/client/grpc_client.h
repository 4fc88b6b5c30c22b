// A small blocking gRPC client of the inference service, for `bench`, `infer` and the tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "serve/proto/inference.pb.h"

namespace sluice::serve {

// One connection. One thread at a time.
class GrpcClient {
 public:
  // Connects with the first call.
  GrpcClient(const std::string& host, int64_t port);
  ~GrpcClient();
  GrpcClient(GrpcClient&&) noexcept;

  // The server's status as an Error; `timeout` becomes the call's deadline.
  base::Status Infer(const inference::ModelInferRequest& request,
                     inference::ModelInferResponse& response,
                     base::Duration timeout = base::Duration::Seconds(30));
  // Any unary method, by name and message: "ServerReady", …
  base::Status Call(const std::string& method, const google::protobuf::Message& request,
                    google::protobuf::Message& response,
                    base::Duration timeout = base::Duration::Seconds(30));
  // What the server said of a refusal in the last call's trailing metadata "x-sluice-reason".
  const std::string& last_reason() const;

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace sluice::serve

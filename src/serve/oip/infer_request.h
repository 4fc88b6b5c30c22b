// One inference request as every dialect builds it, and the checks they share: names, shapes,
// parameters, deadline.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "serve/config.h"
#include "serve/repository/served_model.h"
#include "tensor/tensor.h"

namespace sluice::serve {

// Part of a region of shared memory that a client registered.
struct ShmSlice {
  std::string region;
  int64_t offset = 0;
  int64_t bytes = 0;
};

// How one requested output is to come.
struct WantedOutput {
  std::string name;
  bool binary = false;
  int64_t classes = 0;  // > 0: the classification extension
  bool in_shm = false;
  ShmSlice shm;
};

// What came on the wire, typed. Everything in it owns its bytes.
struct InferRequest {
  std::unique_ptr<engine::Request> request = std::make_unique<engine::Request>();
  std::vector<WantedOutput> outputs;  // empty: all
  bool binary_outputs = false;        // of the outputs that do not say themselves
  bool empty_final_response = false;
  base::Duration timeout = base::Duration::Max();  // the request's own, from its arrival
  int64_t priority = 0;
  std::shared_ptr<const ServedModel> model;
};

// Takes one request parameter: the protocol's own act on `infer`, the rest is kept for the engine.
// kUnimplemented by name for sequences, kInvalidArgument for reserved names and wrong types.
base::Status TakeParameter(std::string_view key, engine::Parameter value,
                           const RequestLimits& limits, InferRequest& infer);

// "timeout" header forms: gRPC's "100m" and milliseconds. Max() when absent or malformed.
base::Duration ParseGrpcTimeout(std::string_view text);
base::Duration ParseMillis(std::string_view text);

// Input names, types, shapes and the batch against the model's description; output names too. Texts
// are Triton's where its clients' tests look at them.
base::Status CheckAgainstModel(const engine::Description& description, const InferRequest& infer);

// Makes the Call: deadline is the smallest of the request's timeout and `transport_timeout`, else
// the model's default. Checks the request against the model. After this it can be prepared and
// submitted.
struct CallContext {
  base::Time arrival;
  base::Duration transport_timeout = base::Duration::Max();
  std::string_view trace_parent;
  std::string_view tenant;
  bool takes_chunks = false;  // the answer may come in parts
  base::Duration ttft = base::Duration::Max();  // as in engine::Call::Options
  base::Duration tpot = base::Duration::Max();
};
base::Status Ready(const CallContext& context, InferRequest& infer);

}  // namespace sluice::serve

// What a model's configuration asks for, in plain types: config.pbtxt is read by model_config.h,
// engines see this.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/description.h"

namespace sluice::serve {

// A request to be answered before the model counts as ready.
struct WarmupRequest {
  struct Input {
    tensor::DType dtype = tensor::DType::kF32;
    std::vector<int64_t> dims;  // without the batch dimension where the model has one
    bool random = false;        // false: zeros
    std::string file;           // bytes from <model>/warmup/<file>; empty: generated
  };
  std::string name;
  int64_t batch_rows = 0;
  int64_t count = 1;
  std::map<std::string, Input> inputs;
};

struct ModelSettings {
  // Rows that one step may join; -1: not said, the model decides; 0: dimension 0 is no batch. Above
  // 0 the configuration declares that rows are independent.
  int64_t max_batch_size = -1;
  std::vector<engine::TensorSpec>
      inputs;  // as declared, dims without the batch dimension; empty: not said
  std::vector<engine::TensorSpec> outputs;
  base::Duration max_queue_delay;  // how long an idle loop may wait for company
  int64_t queue_requests_max = 0;  // 0: the engine's default
  base::Duration default_timeout;  // of requests that bring none; 0: none
  int priority_levels = 0;         // 0: no levels
  int default_priority = 0;
  int64_t instance_count = 1;
  std::vector<WarmupRequest> warmups;
  std::map<std::string, std::string> parameters;
};

enum class VersionPolicy { kLatest, kAll, kSpecific };

struct VersionChoice {
  VersionPolicy policy = VersionPolicy::kLatest;
  int64_t latest_count = 1;
  std::vector<int64_t> versions;  // kSpecific
};

}  // namespace sluice::serve

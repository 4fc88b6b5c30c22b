// The process's one device: its cores, pool, loop and ledger, sized from the machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/machine.h"
#include "base/thread_pool.h"
#include "bin/engine_loader.h"
#include "engine/device_loop.h"
#include "infer/planner.h"
#include "tensor/ledger.h"

namespace sluice::bin {

struct RuntimeOptions {
  int64_t compute_threads = 0;  // 0: one a core; the loop's worker is one of them
  int64_t memory_bytes_max =
      0;                     // of weights and activations; 0: nine tenths of what the machine has
  int64_t quantum_us = 500;  // longest predicted work between two safepoints
  std::string weights;       // what linear layers keep their weights as, where nobody says
  int64_t inline_below_us = 100;  // steps predicted shorter run on the io thread; 0: never
  int64_t payload_bytes_max = int64_t{1} << 30;       // of requests that are not answered
  int64_t plan_bytes_max = int64_t{64} << 20;         // of one model's plans
  int64_t answer_idle_bytes_max = int64_t{32} << 20;  // kept by one model for later answers
  std::string weight_cache;                           // a folder for packed weights; empty: none
  int64_t weight_cache_bytes_max = int64_t{16} << 30;
  int64_t prep_bytes_max = 0;  // reserved for requests that wait to be prepared
};

// Owner: a verb. Outlives the server that uses its loader.
class Runtime {
 public:
  explicit Runtime(const RuntimeOptions& options);

  EngineLoader& loader() { return *loader_; }
  engine::DeviceLoop& loop() { return *loop_; }
  const base::Machine& machine() const { return machine_; }
  int64_t threads() const { return threads_; }
  // The ledger as Prometheus lines.
  std::string MemoryMetrics() const;

 private:
  const base::Machine machine_;
  const int64_t threads_;
  tensor::Ledger ledger_;
  tensor::Reservation prep_;
  base::ThreadPool pool_;
  std::unique_ptr<engine::DeviceLoop> loop_;
  infer::Planner planner_;  // goes before the loop: its events are posted there
  std::unique_ptr<EngineLoader> loader_;
};

}  // namespace sluice::bin

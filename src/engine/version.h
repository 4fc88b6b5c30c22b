// EngineVersion: a loaded model version that requests and chains pin, and Submit, the one way in.
#pragma once

#include <memory>

#include "base/result.h"
#include "engine/engine.h"

namespace sluice::engine {

class DeviceLoop;

// Pins an engine. With no pins and nothing in flight the version is detached on its loop and
// destroyed on the load thread. Immutable; shared by io threads, chains and the loop.
class EngineVersion {
 public:
  EngineVersion(std::unique_ptr<Engine> engine, DeviceLoop* loop);
  ~EngineVersion();

  Engine& engine() const { return *engine_; }
  const Description& description() const { return engine_->description(); }
  DeviceLoop& loop() const { return *loop_; }

 private:
  std::unique_ptr<Engine> engine_;
  DeviceLoop* loop_;
};

// Prepares nothing: the dialect has called Engine::Prepare. Moves the request into the loop, or
// answers it at once on the calling thread: "queue_full", "draining", "deadline_admission". Exactly
// one terminal reply reaches request->sink. May run the loop on the calling thread (the lease) when
// it is idle and the step is short.
void Submit(std::shared_ptr<const EngineVersion> pin, std::unique_ptr<Request> request);

}  // namespace sluice::engine

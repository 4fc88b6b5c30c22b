// Device: how a loop starts a step and learns that it has finished. A CPU runs it then and there; a
// stream later.
#pragma once

#include "engine/engine.h"

namespace sluice::engine {

// Owned by its loop; called by the lease holder. Steps start in launch order and finish in launch
// order.
class Device {
 public:
  virtual ~Device() = default;
  // Runs or enqueues engine.Launch(step, exec, safepoint); `exec` and `safepoint` live until the
  // step has finished. An asynchronous device never reaches safepoints; it rings the loop
  // (DeviceLoop::Wake) when a step finishes.
  virtual void Start(Engine& engine, Step& step, Exec& exec, Safepoint& safepoint) = 0;
  // Whether the step has finished. Its effects are then visible to the caller.
  virtual bool Finished(const Step& step) = 0;
  // Returns when the step has finished.
  virtual void Await(const Step& step) = 0;
};

// The calling thread is the device: Start returns when the step has finished.
class InlineDevice : public Device {
 public:
  void Start(Engine& engine, Step& step, Exec& exec, Safepoint& safepoint) override {
    engine.Launch(step, exec, safepoint);
  }
  bool Finished(const Step&) override { return true; }
  void Await(const Step&) override {}
};

}  // namespace sluice::engine

// EngineVersion: a loaded model version that requests and chains pin, and Submit, the one way in.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/statistics.h"

namespace sluice::engine {

class DeviceLoop;
struct Seat;

// Pins an engine to its loop. Immutable for everyone but the loop; shared by io threads, chains and
// requests. With no pins left nothing of it is queued or in flight: it is then detached on its loop
// and destroyed on the load thread.
class EngineVersion {
 public:
  // Called once, on whichever thread let go of the last pin (the loop's or an io thread): hands the
  // version over to the load thread, where it is destroyed, and returns at once.
  using Retire = std::function<void(std::unique_ptr<EngineVersion>)>;

  // On the load thread. Attaches the engine to the loop and makes it ready for requests.
  // kResourceExhausted: its activations do not fit into what the ledger leaves. `histograms`: where
  // to observe; see Statistics. `loop` outlives the version.
  static base::Result<std::shared_ptr<const EngineVersion>> Create(std::unique_ptr<Engine> engine,
                                                                   DeviceLoop& loop, Retire retire,
                                                                   Histograms histograms = {});
  // On the load thread: waits until the loop has let go of the engine, then destroys it.
  ~EngineVersion();
  EngineVersion(const EngineVersion&) = delete;
  EngineVersion& operator=(const EngineVersion&) = delete;

  Engine& engine() const { return *engine_; }
  const Description& description() const { return engine_->description(); }
  DeviceLoop& loop() const { return *loop_; }
  Statistics& statistics() const { return *statistics_; }

 private:
  friend class DeviceLoop;
  EngineVersion(std::unique_ptr<Engine> engine, DeviceLoop& loop, Histograms histograms);
  Seat& seat() const { return *seat_; }

  std::unique_ptr<Engine> engine_;
  DeviceLoop* loop_;
  std::unique_ptr<Statistics> statistics_;
  std::unique_ptr<Seat> seat_;  // the loop's own record of the engine: the lease holder only
};

// Prepares nothing: the dialect has called Engine::Prepare. Moves the request into the loop, or
// answers it at once on the calling thread: with Request::answer, "queue_full", "draining". Exactly
// one terminal reply reaches request->sink. May run the loop on the calling thread (the lease) when
// it is idle and the step is short.
void Submit(std::shared_ptr<const EngineVersion> pin, std::unique_ptr<Request> request);

// Tells the engine that what a parked request waited for has arrived. Any thread.
void PostEvent(std::shared_ptr<const EngineVersion> pin, Event event);

}  // namespace sluice::engine

// One run of the device loop against random clients, engines and a virtual clock, with its
// invariants checked after every step. A run is a function of its seed.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/device_loop.h"
#include "sim/fake_engine.h"

namespace sluice::sim {

// A device that finishes steps later, one after the other, by the virtual clock.
class StreamDevice : public engine::Device {
 public:
  explicit StreamDevice(base::VirtualClock& clock) : clock_(clock) {}
  void Start(engine::Engine& engine, engine::Step& step, engine::Exec& exec,
             engine::Safepoint& safepoint) override;
  bool Finished(const engine::Step& step) override;
  void Await(const engine::Step& step) override;
  base::Time next_finish() const;  // Never when nothing runs

 private:
  struct Running {
    engine::Engine* engine;
    FakeStep* step;
    engine::Exec* exec;
    base::Time finish;
  };
  base::VirtualClock& clock_;
  std::vector<Running> running_;  // in launch order
};

// What a run came to, for the test to see that the runs were not all alike.
struct Tally {
  int64_t submitted = 0;
  int64_t answered = 0;
  int64_t ok = 0;
  int64_t failed = 0;
  int64_t late = 0;
  int64_t steps = 0;
  int64_t nested = 0;
  int64_t nested_twice = 0;
  int64_t joined = 0;  // steps of more than one request
  int64_t versions = 0;
  std::map<std::string, int64_t> refused;  // by reason

  void Add(const Tally& other);
};

class Simulation {
 public:
  Simulation(uint64_t seed, int depth);
  ~Simulation();

  // Runs to the end. Empty: every invariant held; else what broke, first.
  std::string Run();
  const Tally& tally() const { return tally_; }

 private:
  class Sink;
  struct Client;
  struct Loaded;

  uint64_t Random(uint64_t below);
  bool Chance(int percent) { return Random(100) < static_cast<uint64_t>(percent); }
  void Load();
  void Submit();
  void CancelOne();
  void PostOne();
  void Unload();
  void Reap();
  void Outside();  // something that other threads do, at any moment
  void Turn();
  void Pass();  // moves the clock to the next thing that happens
  void Finish();

  void OnForm(Loaded& loaded, const FakeStep& step);
  void OnCommit(Loaded& loaded, const FakeStep& step);
  void OnReply(Client& client, const engine::Reply& reply);
  void CheckIdle();
  void CheckFairness();
  void CheckStatistics(const Loaded& loaded);
  void Fail(const std::string& what);

  uint64_t state_;
  base::VirtualClock clock_{base::Time{1'000'000'000}};
  StreamDevice* stream_ = nullptr;  // null: steps run inline, with safepoints
  std::unique_ptr<engine::DeviceLoop> loop_;
  std::vector<std::unique_ptr<Loaded>> loaded_;
  std::vector<std::unique_ptr<engine::EngineVersion>> retired_;
  std::vector<std::shared_ptr<Client>> clients_;  // not answered yet
  uint64_t next_token_ = 1;
  int64_t inbox_max_ = 0;
  int running_ = 0;          // steps between Form and Commit
  base::Time next_outside_;  // while an inline step runs
  bool delays_ = false;      // models may wait for company
  bool quiet_ = false;       // nothing arrives any more
  int timed_percent_ = 50;
  // The tenth, counted apart from the loop.
  base::Duration timed_ran_, untimed_ran_, longest_timed_, longest_untimed_, untimed_due_;

  Tally tally_;
  std::string failure_;
};

}  // namespace sluice::sim

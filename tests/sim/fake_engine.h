// Engines without a model, for tests and benches of the loop: steps of a set length, with
// safepoints, parked requests, failures, and a record of what the loop asked of them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/cost_model.h"
#include "engine/engine.h"
#include "engine/micro_batcher.h"

namespace sluice::sim {

// What a request asks of a fake engine.
struct FakeWork : engine::Prepared {
  uint64_t shape = 0;
  uint64_t park_token = 0;  // not 0: parked until an event with this token comes
  bool fails = false;       // Launch of its step fails
};

// A step of a fake engine; `duration` is what Launch takes.
struct FakeStep : engine::Step {
  bool wanted(base::Time now) const override { return engine::AnyWanted(members, probe, now); }

  std::vector<std::unique_ptr<engine::Request>> members;
  base::Duration duration;
  uint64_t shape = 0;
  uint64_t number = 0;  // of the engine's steps, by Form
  bool fails = false;
  engine::WorkClass work = engine::WorkClass::kTimed;
};

// What a test wants to see; every function may be empty.
struct FakeHooks {
  std::function<void(const engine::Offer&)> on_offer;
  std::function<void(const FakeStep&)> on_form;
  std::function<void(const FakeStep&)> on_commit;
};

class FakeEngine : public engine::Engine {
 public:
  struct Options {
    std::string name = "fake";
    engine::MicroBatcher::Options batching;
    base::Duration fixed = base::Duration::Micros(2);    // of each step
    base::Duration per_row;                              // and for each of its rows
    base::Duration piece = base::Duration::Micros(100);  // of work between safepoints
    base::Duration prior;                                // what the cost model starts from
    int64_t activation_bytes = 4096;
    // Passes that much time: advances a virtual clock, or keeps a real core busy.
    std::function<void(base::Duration)> spend;
    // Multiplies a step's time, for noise; empty: 1.
    std::function<double()> noise;
    FakeHooks hooks;
  };
  explicit FakeEngine(Options options);
  ~FakeEngine() override;

  const engine::Description& description() const override { return description_; }
  base::Duration PrepareCost(const engine::Request&) const override { return {}; }
  base::Status Prepare(engine::Request& request) const override;
  engine::MemoryUse memory() const override { return {0, options_.activation_bytes, 0}; }
  std::unique_ptr<engine::Step> MakeStep(int slot) override;
  engine::Admission Admit(std::unique_ptr<engine::Request>& request,
                          const engine::Outlook& outlook) override;
  void OnEvent(const engine::Event& event, const engine::Outlook& outlook,
               engine::Replies& replies) override;
  void Sweep(base::Time now, engine::Replies& replies) override;
  const engine::Offer* BestOffer(base::Time now, engine::WorkClass work) override {
    const engine::Offer* offer = batcher_.BestOffer(now, work);
    if (offer != nullptr && options_.hooks.on_offer) options_.hooks.on_offer(*offer);
    return offer;
  }
  bool Form(const engine::Offer& offer, engine::Step& step, engine::Replies& replies) override;
  void Commit(engine::Step& step, engine::StepStatus status, engine::Replies& replies) override;
  int64_t pending() const override;
  void CheckIntegrity() const override;
  void Launch(engine::Step& step, engine::Exec& exec, engine::Safepoint& safepoint) override;

  int64_t waiting() const { return batcher_.waiting(); }
  const engine::CostModel& costs() const { return costs_; }

 private:
  const Options options_;
  engine::Description description_;
  engine::CostModel costs_;
  engine::MicroBatcher batcher_;
  std::unordered_map<uint64_t, std::unique_ptr<engine::Request>> parked_;  // by token
  int64_t in_steps_ = 0;
  uint64_t formed_ = 0;
  std::vector<uint64_t> in_flight_;  // numbers of steps between Form and Commit
};

// Spends real time on the calling thread.
void SpinFor(base::Duration duration);

}  // namespace sluice::sim

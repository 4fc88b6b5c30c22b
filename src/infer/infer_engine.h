// The engine that serves imported graphs as they are: requests of one shape are joined by rows
// where the model allows it. A step runs in parts for which plans are there; what is missing is
// made by the model's planner, beside the loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/cost_model.h"
#include "engine/engine.h"
#include "engine/micro_batcher.h"
#include "infer/serve_step.h"
#include "infer/served_model.h"
#include "tensor/buffer_pool.h"

namespace sluice::infer {

// One per (model version, loop). The mutable part belongs to the lease holder; Prepare and the
// descriptions look at the shared model alone.
class InferEngine : public engine::Engine {
 public:
  explicit InferEngine(std::shared_ptr<const ServedModel> served);
  ~InferEngine() override;

  const engine::Description& description() const override { return served_->description; }
  base::Duration PrepareCost(const engine::Request& request) const override;
  base::Status Prepare(engine::Request& request) const override;
  engine::MemoryUse memory() const override;
  std::unique_ptr<engine::Step> MakeStep(int slot) override;

  engine::Admission Admit(std::unique_ptr<engine::Request>& request,
                          const engine::Outlook& outlook) override;
  void OnEvent(const engine::Event& event, const engine::Outlook& outlook,
               engine::Replies& replies) override;
  void Sweep(base::Time now, engine::Replies& replies) override;
  const engine::Offer* BestOffer(base::Time now, engine::WorkClass work) override;
  bool Form(const engine::Offer& offer, engine::Step& step, engine::Replies& replies) override;
  void Commit(engine::Step& step, engine::StepStatus status, engine::Replies& replies) override;
  int64_t pending() const override {
    return batcher_.waiting() + in_steps_ + static_cast<int64_t>(parked_.size());
  }
  void CheckIntegrity() const override { batcher_.CheckIntegrity(); }

  void Launch(engine::Step& step, engine::Exec& exec, engine::Safepoint& safepoint) override;

  const ServedModel& served() const { return *served_; }

 private:
  // What the plans of one shape predict, for the cost model's prior.
  struct Prior {
    double fixed_ns = 0;
    double row_ns = 0;
    std::vector<tensor::Shape> shapes;  // of a request of this key
  };
  static constexpr size_t kPriorsMax = 4096;
  static constexpr size_t kParkedMax = 4096;

  base::Duration PriorOf(uint64_t shape, int64_t rows) const;
  bool LearnShape(const engine::Request& request);
  engine::Admission AdmitPlanned(std::unique_ptr<engine::Request>& request,
                                 const engine::Outlook& outlook);
  engine::Admission Park(std::unique_ptr<engine::Request>& request);
  void AskForPlans(ServeStep& step);
  void AskForRaggedPlans(const ServeStep& step);

  const std::shared_ptr<const ServedModel> served_;
  std::unordered_map<uint64_t, Prior> priors_;
  engine::CostModel costs_;
  engine::MicroBatcher batcher_;
  const std::shared_ptr<tensor::BufferPool> answers_;
  std::vector<std::unique_ptr<engine::Request>> parked_;  // until their shapes are planned
  int64_t in_steps_ = 0;
};

// A version folder as an engine: LoadServedModel and an engine over it.
base::Result<std::unique_ptr<engine::Engine>> Load(const std::string& folder,
                                                   const Options& options);

// A request with plausible inputs of `rows` rows, prepared; its answer shows that the model runs.
// Open dimensions take 8.
base::Result<std::unique_ptr<engine::Request>> MakeWarmUp(const InferEngine& engine, int64_t rows);

}  // namespace sluice::infer
